"""Weights made elsewhere, in and out: one strict loader for every layout.

Fine-tuning starts from the backbones the paper used, and an official checkpoint gives the official scores. A source is
a mapping of NumPy arrays, or an ``.npz``, ``.safetensors`` or PyTorch file; its layout is recognised from its keys.
"""

from __future__ import annotations

import functools
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx

from glintiqa_jax.models.efficientnet_lite import EfficientNetLite0, port_name
from glintiqa_jax.models.glintiqa import GlintIQA, GlintIQAConfig
from glintiqa_jax.models.layouts import Weights, as_official, as_timm_vit, as_torchvision_resnet, official_name
from glintiqa_jax.models.resnet import PointwiseConv, ResNet
from glintiqa_jax.models.torch_files import TorchFileError, read_torch_file
from glintiqa_jax.models.vit import PatchEmbedding

Source = str | os.PathLike | Weights

# What a file may hold beside the weights that are used: counters, heads, and the parts after the last tap.
_COUNTERS = r".*\.num_batches_tracked"
_VIT_REST = r"(norm|fc_norm|head|head_dist|pre_logits)\..*|mask_token|blocks\.(\d+)\..*"
_RESNET_REST = r"(layer4|fc)\..*"
_EFFICIENTNET_REST = r"(_blocks\.(1[1-9])|_conv_head|_bn1|_fc)\..*"
_RELEASED_DEPTH = 12  # blocks of the official ViT, of which those after the last tap are never used
_RELEASED_CLASSES = 1000  # of its unused head


class WeightsError(ValueError):
    """A source that is no weights, or not this network's; the message lists every key that does not fit."""


def read_weights(source: Source) -> Weights:
    """A source as NumPy arrays by name; a file's kind is recognised from its first bytes.

    Raises:
      WeightsError: for a file that is none, or holds something else.
    """
    if isinstance(source, Mapping):
        return source
    path = Path(source).expanduser()
    try:
        with path.open("rb") as file:
            start = file.read(16)
            if start.startswith(b"PK") and all(name.endswith(".npy") for name in zipfile.ZipFile(file).namelist()):
                file.seek(0)
                with np.load(file, allow_pickle=False) as content:
                    return {name: content[name] for name in content.files}
        if start[8:9] == b"{":
            return safetensors.numpy.load_file(path)
        return _state_dict(read_torch_file(path), path)
    except OSError as error:
        raise WeightsError(f"{path}: expected a file of weights, found {error.strerror or error}") from error
    except (TorchFileError, safetensors.SafetensorError, zipfile.BadZipFile, ValueError) as error:
        raise WeightsError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def load_glintiqa(model: GlintIQA, source: Source) -> None:
    """Fill a whole model from an official state dict, in its current or legacy names.

    Raises:
      WeightsError: listing every missing, unexpected and misshaped key.
    """
    weights = as_official(read_weights(source))
    keep = rf"{_COUNTERS}|vgfe\.backbone\.({_VIT_REST})|clfe\.backbone\.({_RESNET_REST}|{_EFFICIENTNET_REST})"
    last = max(model.config.tapped_blocks)
    crop_note = functools.partial(_crop_note, model.config, weights)
    _fill(model, "", weights, _official_names(model), keep, last_block=last, note=crop_note)


def load_vit(model: GlintIQA, source: Source) -> None:
    """Fill the ViT branch from timm's, DINOv2's, Google's or Hugging Face's weights.

    Position embeddings of another grid are interpolated (bicubic, antialiased), patch embeddings of another size
    resized by the pseudo-inverse (Beyer et al. 2023, "FlexiViT"), and LayerScale is folded into the layer before it.

    Raises:
      WeightsError: for a model without this branch, and listing every missing, unexpected and misshaped key.
    """
    if model.vgfe is None:
        raise WeightsError("the model has no ViT branch to load weights into")
    weights = dict(_recognised(as_timm_vit, read_weights(source)))
    config = model.config
    if "pos_embed" in weights:
        weights["pos_embed"] = resized_positions(weights["pos_embed"], config.tokens)
    if "patch_embed.proj.weight" in weights:
        weights["patch_embed.proj.weight"] = resized_patches(weights["patch_embed.proj.weight"], config.patch_size)
    names = {ours: name.removeprefix("vgfe.backbone.") for ours, name in _official_names(model).items()}
    _fill(model, "vgfe.", weights, names, _VIT_REST, last_block=max(config.tapped_blocks))


def load_resnet(model: GlintIQA, source: Source) -> None:
    """Fill the CNN branch, a ResNet, from torchvision's or timm's weights.

    Raises:
      WeightsError: for a model without a ResNet, and listing every missing, unexpected and misshaped key.
    """
    if not isinstance(model.clfe, ResNet):
        raise WeightsError("the model has no ResNet branch to load weights into")
    weights = _recognised(as_torchvision_resnet, read_weights(source))
    names = {ours: name.removeprefix("clfe.backbone.") for ours, name in _official_names(model).items()}
    _fill(model, "clfe.", weights, names, rf"{_COUNTERS}|{_RESNET_REST}")


def load_efficientnet_lite(model: GlintIQA, source: Source) -> None:
    """Fill the CNN branch, an EfficientNet-Lite0, from the PyTorch port's weights.

    Raises:
      WeightsError: for a model without that branch, and listing every missing, unexpected and misshaped key.
    """
    if not isinstance(model.clfe, EfficientNetLite0):
        raise WeightsError("the model has no EfficientNet-Lite0 branch to load weights into")
    names = {ours: name.removeprefix("clfe.backbone.") for ours, name in _official_names(model).items()}
    _fill(model, "clfe.", read_weights(source), names, rf"{_COUNTERS}|{_EFFICIENTNET_REST}")


def load_classifier(model: ResNet | EfficientNetLite0, source: Source) -> None:
    """Fill a backbone that stands by itself, from torchvision's or timm's ResNets or the PyTorch port's weights.

    A ResNet's own classifier is left out.

    Raises:
      WeightsError: listing every missing, unexpected and misshaped key.
    """
    weights = read_weights(source)
    ours = [_dotted(path) for path, _ in nnx.to_flat_state(nnx.state(model))]
    if isinstance(model, ResNet):
        weights = _recognised(as_torchvision_resnet, weights)
        names = {name: official_name(f"clfe.{name}", embedded_stages=()) for name in ours}
        names = {name: official.removeprefix("clfe.backbone.") for name, official in names.items()}
        _fill(model, "", weights, names, rf"{_COUNTERS}|fc\..*")
    else:
        _fill(model, "", weights, {name: port_name(name) for name in ours}, _COUNTERS)


def load_backbone(model: GlintIQA, source: Source) -> str:
    """Fill the branch, or the whole model, whose weights the source's keys show it to be; returns its name.

    Raises:
      WeightsError: when the keys are of no network that is known, or do not fit the model.
    """
    weights = read_weights(source)
    names = {name.removeprefix("module.") for name in weights}
    if "quality_head.layers.0.weight" in names or "out.0.weight" in names:
        load_glintiqa(model, weights)
        return "GlintIQA"
    if "_conv_stem.weight" in names:
        load_efficientnet_lite(model, weights)
        return "EfficientNet-Lite0"
    if any(name.startswith(("layer1.", "root_block", "params/conv_init", "conv_init")) for name in names):
        load_resnet(model, weights)
        return "ResNet"
    load_vit(model, weights)
    return "ViT"


def export_glintiqa(model: GlintIQA) -> dict[str, np.ndarray]:
    """A model in the official layout, bit for bit, for PyTorch: the inverse of ``load_glintiqa``.

    What the official network carries and never uses (the blocks after the last tap, the ViT's last norm and head, the
    counters of batch normalisation) is filled with zeros, so that a strict ``load_state_dict`` takes it.
    """
    modules = dict(nnx.iter_modules(model))
    names = _official_names(model)
    weights = {}
    for path, variable in nnx.to_flat_state(nnx.state(model)):
        array = np.asarray(variable[...])
        stored = _torch_shape(modules[path[:-1]], str(path[-1]), array.shape)
        weights[names[_dotted(path)]] = _to_torch(array, stored)
    for name in [name for name in weights if name.endswith(".running_var")]:
        weights[name.replace(".running_var", ".num_batches_tracked")] = np.zeros((), np.int64)
    weights |= {name: np.zeros(shape, np.float32) for name, shape in _unused(model.config, weights).items()}
    return weights


def resized_positions(embedding: np.ndarray, tokens: int) -> np.ndarray:
    """A position embedding ``(1, 1 + M, d)``, class token first, for ``tokens`` = N places: ``(1, 1 + N, d)``."""
    old, new = _side(embedding.shape[1] - 1), _side(tokens)
    if old == new:
        return embedding
    width = embedding.shape[2]
    # (1, M, d) -> (old, old, d) -> (new, new, d) -> (1, N, d)
    grid = jnp.asarray(embedding[0, 1:], jnp.float32).reshape(old, old, width)
    grid = jax.image.resize(grid, (new, new, width), "cubic", antialias=True)
    return np.concatenate([embedding[:, :1], np.asarray(grid).reshape(1, tokens, width)], axis=1)


def resized_patches(kernel: np.ndarray, patch_size: int) -> np.ndarray:
    """A patch embedding ``(d, 3, k, k)`` for another patch size ``(d, 3, p, p)``.

    The new kernel answers to a resized patch as the old one did to the patch: FlexiViT's pseudo-inverse resize.
    """
    old = kernel.shape[-1]
    if old == patch_size:
        return kernel
    # each old pixel's image under the resize: (old * old, new, new) -> (old * old, new * new)
    basis = jnp.eye(old * old).reshape(old * old, old, old)
    resize = jax.image.resize(basis, (old * old, patch_size, patch_size), "bilinear", antialias=False)
    inverse = np.linalg.pinv(np.asarray(resize, np.float64).reshape(old * old, -1))  # (new * new, old * old)
    flat = kernel.reshape(*kernel.shape[:2], -1) @ inverse.T  # (d, 3, new * new)
    return flat.reshape(*kernel.shape[:2], patch_size, patch_size).astype(np.float32)


def _fill(
    model: nnx.Module,
    prefix: str,
    weights: Weights,
    names: Mapping[str, str],
    ignored: str,
    *,
    last_block: int = 0,
    note: Callable[[list[str]], str] = lambda wrong: "",
) -> None:
    """Replace every variable under ``prefix``, or none: all keys are checked first."""
    modules = dict(nnx.iter_modules(model))
    filled, missing, misshaped = [], [], []
    known = set()
    for path, variable in nnx.to_flat_state(nnx.state(model)):
        ours = _dotted(path)
        if not ours.startswith(prefix):
            continue
        name = names[ours]
        known.add(name)
        if name not in weights:
            missing.append(name)
            continue
        array, expected = weights[name], _torch_shape(modules[path[:-1]], str(path[-1]), variable.shape)
        if array.shape != expected:
            misshaped.append(f"{name} {array.shape} instead of {expected}")
            continue
        filled.append((path, variable.replace(jnp.asarray(_from_torch(array, variable.shape), jnp.float32))))
    unexpected = [name for name in weights if name not in known and not _may_be_ignored(name, ignored, last_block)]
    problems = [
        f"{label} {len(found)}: {', '.join(sorted(found))}"
        for label, found in (("missing", missing), ("unexpected", unexpected), ("misshaped", misshaped))
        if found
    ]
    if problems:
        raise WeightsError("the weights do not fit this model; " + "; ".join(problems) + note(misshaped))
    nnx.update(model, nnx.from_flat_state(filled))


def _may_be_ignored(name: str, ignored: str, last_block: int) -> bool:
    match = re.fullmatch(ignored, name)
    block = re.search(r"(?<!_)blocks\.(\d+)\.", name)
    return match is not None and (block is None or int(block[1]) > last_block)


def _official_names(model: GlintIQA) -> dict[str, str]:
    """Our dotted name of every variable: the official key."""
    lite = isinstance(model.clfe, EfficientNetLite0)
    names = {}
    for path, _ in nnx.to_flat_state(nnx.state(model)):
        ours = _dotted(path)
        if lite and ours.startswith("clfe."):
            names[ours] = "clfe.backbone." + port_name(ours.removeprefix("clfe."))
        else:
            names[ours] = official_name(ours, embedded_stages=model.config.embedded_stages)
    return names


def _torch_shape(module: nnx.Module, leaf: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which PyTorch keeps one of our arrays."""
    if leaf != "kernel":
        return shape
    if isinstance(module, PatchEmbedding):
        k = module.kernel_size
        return (shape[1], shape[0] // (k * k), k, k)
    if isinstance(module, PointwiseConv):
        return (shape[1], shape[0], 1, 1)
    return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape[::-1]


def _from_torch(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Convolutions (out, in, y, x) to (y, x, in, out), as a matrix where ours is one; linear (out, in) to (in, out)."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0).reshape(shape)
    return array.T if array.ndim == 2 else array


def _to_torch(array: np.ndarray, stored: tuple[int, ...]) -> np.ndarray:
    """The inverse of ``_from_torch``; ``stored`` is PyTorch's shape."""
    if len(stored) == 4:
        out, channels, height, width = stored
        array = array.reshape(height, width, channels, out).transpose(3, 2, 0, 1)
    elif len(stored) == 2:
        array = array.T
    return np.ascontiguousarray(array)


def _unused(config: GlintIQAConfig, weights: Weights) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the official ViT's unused parts."""
    if not config.use_vit:
        return {}
    start = "vgfe.backbone."
    last = f"{start}blocks.{max(config.tapped_blocks)}."
    shapes: dict[str, tuple[int, ...]] = {
        name.replace(last, f"{start}blocks.{block}."): array.shape
        for block in range(max(config.tapped_blocks) + 1, _RELEASED_DEPTH)
        for name, array in weights.items()
        if name.startswith(last)
    }
    shapes |= {f"{start}norm.weight": (config.width,), f"{start}norm.bias": (config.width,)}
    shapes |= {f"{start}head.weight": (_RELEASED_CLASSES, config.width), f"{start}head.bias": (_RELEASED_CLASSES,)}
    return shapes


def _recognised(layout: Callable[[Weights], Weights], weights: Weights) -> Weights:
    try:
        return layout(weights)
    except ValueError as error:
        raise WeightsError(str(error)) from error


def _state_dict(content: Any, path: Path) -> Weights:
    """The arrays in a training checkpoint: under ``state_dict`` or ``model``, or the content itself."""
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, np.ndarray) for value in content.values()):
        raise WeightsError(f"{path}: expected a state dict of tensors, found {type(content).__name__} of other things")
    return content


def _crop_note(config: GlintIQAConfig, weights: Weights, misshaped: list[str]) -> str:
    """CWSA's weights are tokens x tokens: say what a file of another crop size is."""
    key = weights.get("cwsa1.c_q.weight", weights.get("local_cwsa.c_q.weight"))
    if key is None or not any("cwsa" in name for name in misshaped):
        return ""
    theirs = _side(key.shape[0]) * config.patch_size
    return (
        f"; CWSA ties a model to its crop: these weights are for crops of {theirs} pixels, this model takes "
        f"{config.crop_size} (crop_size={theirs} builds one that fits)"
    )


def _side(tokens: int) -> int:
    side = round(tokens**0.5)
    if side * side != tokens:
        raise WeightsError(f"expected a square grid of tokens, found {tokens} of them")
    return side


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))
