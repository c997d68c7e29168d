"""Weights made elsewhere, in and out: the official GlintIQA, and backbones in every layout that their files know.

Fine-tuning starts from the backbones the paper used, and an official checkpoint gives the official scores. A source is
a mapping of NumPy arrays, or an ``.npz``, ``.safetensors`` or PyTorch file; its layout is recognised from its keys.
Every layout is first brought to the published PyTorch one, in which arrays are as PyTorch stores them.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
from flax import nnx

from glintiqa_jax.models.backbones import BACKBONES, ViTConfig, whole_backbones
from glintiqa_jax.models.backbones.protocol import LEAVES, BackboneConfig, Rules, renamed
from glintiqa_jax.models.config import ModelConfig
from glintiqa_jax.models.files import Slot, Source, Weights, WeightsError, dotted, fill, load_weights, read_weights
from glintiqa_jax.models.glintiqa import GlintIQA
from glintiqa_jax.models.ops import ConvolutionAsProduct

_BRANCHES = ("vgfe", "clfe")
_COUNTER = ".num_batches_tracked"  # of batch normalisation, which nobody reads
_OFFICIAL: Rules = [
    (r"^local\.", "local_"),
    (r"^stages\.(\d+)\.(\w+)\.", lambda m: f"{m[2]}{int(m[1]) + 1}."),
    (r"\.query\.", ".c_q."),
    (r"\.key\.", ".c_k."),
    (r"\.value\.", ".c_v."),
    (r"^head\.fc1\.", "quality_head.layers.0."),
    (r"^head\.fc2\.", "quality_head.layers.3."),
    *LEAVES,
]
# Names that the authors' code had before the ones above.
_LEGACY: Rules = [
    (r"^transformer\.", "vgfe.backbone."),
    (r"^cnn\.", "clfe.backbone."),
    (r"^patch_embed(\d)\.", r"clfe.patch_embed\1."),
    (r"^att_cnn\.", "local_cwsa."),
    (r"^proj\.", "local_projection."),
    (r"^fusion(\d)\.", r"cwsa\1."),
    (r"^conv(\d)\.(weight)$", r"siem\1.conv.\2"),
    (r"^out\.", "quality_head.layers."),
]


def load_glintiqa(model: GlintIQA, source: Source) -> None:
    """Fill a whole model from an official state dict, in its current or legacy names.

    Raises:
      WeightsError: listing every missing, unexpected and misshaped key.
    """
    weights = _as_official(read_weights(source))
    branches = _branches(model.config)

    def may_be_unused(name: str) -> bool:
        branch, _, rest = name.partition(".backbone.")
        return name.endswith(_COUNTER) or (branch in branches and branches[branch].may_be_unused(rest))

    note = functools.partial(_crop_note, model.config, weights)
    slots = _slots(model, functools.partial(_official_name, model.config))
    fill(model, weights, slots, may_be_unused=may_be_unused, note=note)


def load_backbone(model: GlintIQA, source: Source) -> str:
    """Fill the branch, or the whole model, whose weights the source's keys show it to be; returns its title.

    Raises:
      WeightsError: keys that are of no network that is known, or do not fit the model.
    """
    weights = read_weights(source)
    if "head.fc1.kernel" in weights:  # as this package saves models
        load_weights(model, weights)
        return "GlintIQA"
    names = {name.removeprefix("module.") for name in weights}
    if names & {"quality_head.layers.0.weight", "out.0.weight"}:
        load_glintiqa(model, weights)
        return "GlintIQA"
    for name, branch in _branches(model.config).items():
        if branch.recognises(names):
            part = getattr(model, name)
            _fill_backbone(part, branch, branch.read(weights, model.config), branch.may_be_unused)
            return branch.title
    kinds: list[type[BackboneConfig]] = [*BACKBONES.values(), ViTConfig]
    found = [kind.title for kind in kinds if kind.recognises(names)]
    if not found:
        known = ", ".join(["GlintIQA", *(kind.title for kind in kinds)])
        raise WeightsError(expected=f"weights of one of {known}", found=_some(weights))
    raise WeightsError(f"the model has no {' or '.join(found)} branch to load weights into")


def load_whole(name: str, source: Source) -> Any:
    """The whole backbone of this name, one of ``whole_backbones()``, with weights; a ``WholeBackbone``.

    Raises:
      WeightsError: listing every missing, unexpected and misshaped key.
    """
    backbone, whole = whole_backbones()[name]
    weights = read_weights(source)
    if not backbone.recognises(weights):
        raise WeightsError(expected=f"weights of a {backbone.title}", found=_some(weights))
    model = nnx.eval_shape(lambda: whole.build(nnx.Rngs(0)))
    _fill_backbone(model, backbone, backbone.read(weights), lambda key: re.fullmatch(whole.unused, key) is not None)
    return model


def export_glintiqa(model: GlintIQA) -> dict[str, np.ndarray]:
    """A model in the official layout, bit for bit, for PyTorch: the inverse of ``load_glintiqa``.

    What the official network carries and never uses (the blocks after the last tap, the ViT's last norm and head, the
    counters of batch normalisation) is filled with zeros, so that a strict ``load_state_dict`` takes it.
    """
    slots = _slots(model, functools.partial(_official_name, model.config))
    weights = {
        slots[path].name: _to_torch(np.asarray(variable[...]), slots[path].shape)
        for path, variable in nnx.to_flat_state(nnx.state(model))
    }
    counters = [name.replace(".running_var", _COUNTER) for name in weights if name.endswith(".running_var")]
    weights |= {name: np.zeros((), np.int64) for name in counters}
    for branch, backbone in _branches(model.config).items():
        start = f"{branch}.backbone."
        shapes = {name.removeprefix(start): weights[name].shape for name in weights if name.startswith(start)}
        unused = backbone.never_read(model.config, shapes)
        weights |= {start + name: np.zeros(shape, np.float32) for name, shape in unused.items()}
    return weights


def _branches(config: ModelConfig) -> dict[str, BackboneConfig]:
    both = zip(_BRANCHES, (config.vit, config.cnn), strict=True)
    return {name: backbone for name, backbone in both if backbone is not None}


def _official_name(config: ModelConfig, name: str) -> str:
    """The official key of one of our variables, by its dotted name."""
    branch, _, rest = name.partition(".")
    if branch in _BRANCHES:
        return f"{branch}.backbone.{_branches(config)[branch].published_name(rest)}"
    embedding = re.match(r"local\.embeddings\.(\d)\.", name)
    if embedding:
        stage = config.embedded_stages[int(embedding[1])]
        name = name.replace(embedding[0], f"clfe.patch_embed{stage}.proj.")
    return renamed(name, _OFFICIAL)


def _as_official(weights: Weights) -> Weights:
    """A GlintIQA state dict in its current names, from these or the legacy ones, wrapped in ``module.`` or not."""
    found = {name.removeprefix("module."): array for name, array in weights.items()}
    if any(name.startswith(("transformer.", "att_cnn.")) for name in found):
        found = {renamed(name, _LEGACY): array for name, array in found.items()}
    return found


def _fill_backbone(model: nnx.Module, backbone: BackboneConfig, weights: Weights, may_be_unused: Any) -> None:
    slots = _slots(model, backbone.published_name)
    fill(model, weights, slots, may_be_unused=lambda name: name.endswith(_COUNTER) or may_be_unused(name))


def _slots(model: nnx.Module, name_of: Any) -> dict[tuple[Any, ...], Slot]:
    """Where PyTorch keeps each of a model's variables."""
    modules = dict(nnx.iter_modules(model))
    slots = {}
    for path, variable in nnx.to_flat_state(nnx.state(model)):
        stored = _torch_shape(modules[path[:-1]], str(path[-1]), variable.shape)
        slots[path] = Slot(name_of(dotted(path)), stored, functools.partial(_from_torch, shape=variable.shape))
    return slots


def _torch_shape(module: nnx.Module, leaf: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which PyTorch keeps one of our arrays."""
    if leaf != "kernel":
        return shape
    if isinstance(module, ConvolutionAsProduct):
        side = module.side
        return (shape[1], shape[0] // (side * side), side, side)
    return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape[::-1]


def _from_torch(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Ours of PyTorch's: a convolution, maybe as a matrix (``ops``), or a linear layer's (out, in) as (in, out)."""
    if array.ndim == 4:
        # (out, in, y, x) -> (y, x, in, out), or (y * x * in, out)
        return array.transpose(2, 3, 1, 0).reshape(shape)
    return array.T if array.ndim == 2 else array


def _to_torch(array: np.ndarray, stored: tuple[int, ...]) -> np.ndarray:
    """The inverse of ``_from_torch``; ``stored`` is PyTorch's shape."""
    if len(stored) == 4:
        # (y, x, in, out), or (y * x * in, out) -> (out, in, y, x)
        out, channels, height, width = stored
        array = array.reshape(height, width, channels, out).transpose(3, 2, 0, 1)
    elif len(stored) == 2:
        array = array.T
    return np.ascontiguousarray(array)


def _crop_note(config: ModelConfig, weights: Weights, misshaped: list[str]) -> str:
    """CWSA's weights are tokens x tokens: say what a file of another crop size is."""
    key = weights.get("cwsa1.c_q.weight", weights.get("local_cwsa.c_q.weight"))
    if key is None or not any("cwsa" in name for name in misshaped):
        return ""
    theirs = round(key.shape[0] ** 0.5) * config.patch_size
    return (
        f"; CWSA ties a model to its crop: these weights are for crops of {theirs} pixels, this model takes "
        f"{config.crop_size} (`crop_size={theirs}` builds one that fits)"
    )


def _some(weights: Weights) -> str:
    """The first few keys, for a message."""
    return ", ".join(sorted(weights)[:4]) + (", ..." if len(weights) > 4 else "")
