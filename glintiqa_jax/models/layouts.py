"""Names of the same weights elsewhere: the official GlintIQA, timm, Google, Hugging Face, torchvision.

Every foreign layout is first brought to one: the official state dict, whose backbones are timm's ViT and torchvision's
ResNet; ``official_name`` says which of its keys each of our variables is. Arrays stay as PyTorch stores them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

Weights = Mapping[str, np.ndarray]
_Rules = Iterable[tuple[str, str | Callable[[re.Match[str]], str]]]

_LEAVES: _Rules = [
    (r"\.(kernel|scale)$", ".weight"),
    (r"\.mean$", ".running_mean"),
    (r"\.var$", ".running_var"),
]
_OFFICIAL: _Rules = [
    (r"^vgfe\.", "vgfe.backbone."),
    (r"\.patch_embed\.", ".patch_embed.proj."),
    (r"(\.blocks\.\d+)\.fc", r"\1.mlp.fc"),
    (r"^clfe\.stages\.(\d)\.", lambda m: f"clfe.layer{int(m[1]) + 1}."),
    (r"^clfe\.", "clfe.backbone."),
    (r"\.downsample\.conv\.", ".downsample.0."),
    (r"\.downsample\.bn\.", ".downsample.1."),
    (r"^local\.", "local_"),
    (r"^stages\.(\d+)\.(\w+)\.", lambda m: f"{m[2]}{int(m[1]) + 1}."),
    (r"\.query\.", ".c_q."),
    (r"\.key\.", ".c_k."),
    (r"\.value\.", ".c_v."),
    (r"^head\.fc1\.", "quality_head.layers.0."),
    (r"^head\.fc2\.", "quality_head.layers.3."),
    *_LEAVES,
]
# Names that the authors' code had before the ones above.
_LEGACY: _Rules = [
    (r"^transformer\.", "vgfe.backbone."),
    (r"^cnn\.", "clfe.backbone."),
    (r"^patch_embed(\d)\.", r"clfe.patch_embed\1."),
    (r"^att_cnn\.", "local_cwsa."),
    (r"^proj\.", "local_projection."),
    (r"^fusion(\d)\.", r"cwsa\1."),
    (r"^conv(\d)\.(weight)$", r"siem\1.conv.\2"),
    (r"^out\.", "quality_head.layers."),
]
_HUGGING_FACE: _Rules = [
    (r"^(vit|dinov2)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.(layernorm_before|norm1)\.", ".norm1."),
    (r"\.(layernorm_after|norm2)\.", ".norm2."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attention\.attention\.", ".attn."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"^layernorm\.", "norm."),
    (r"^(pooler|classifier)\.", "head."),
]
_GOOGLE: _Rules = [
    (r"^cls$", "cls_token"),
    (r"^Transformer/posembed_input/pos_embedding$", "pos_embed"),
    (r"^embedding/", "patch_embed/proj/"),
    (r"^Transformer/encoderblock_(\d+)/", r"blocks/\1/"),
    # numbered by module kind in newer files, over all modules of a block in older ones
    (r"/LayerNorm_0/", "/norm1/"),
    (r"/LayerNorm_[12]/", "/norm2/"),
    (r"/MultiHeadDotProductAttention_[01]/out/", "/attn/proj/"),
    (r"/MultiHeadDotProductAttention_[01]/", "/attn/"),
    (r"/MlpBlock_[03]/Dense_0/", "/mlp/fc1/"),
    (r"/MlpBlock_[03]/Dense_1/", "/mlp/fc2/"),
    (r"^Transformer/encoder_norm/", "norm/"),
    (r"/", "."),
    *_LEAVES,
]


def official_name(name: str, *, embedded_stages: tuple[int, ...]) -> str:
    """The official key of one of our variables, by its dotted name; the CNN branch is a ResNet."""
    name = re.sub(r"^local\.embeddings\.(\d)\.", lambda m: f"clfe_patch_embed{embedded_stages[int(m[1])]}.proj.", name)
    return _renamed(name, _OFFICIAL).replace("clfe_patch_embed", "clfe.patch_embed")


def as_official(weights: Weights) -> Weights:
    """A whole GlintIQA's state dict, in its current or legacy names, in the current ones."""
    names = {name: name.removeprefix("module.") for name in weights}
    if any(name.startswith(("transformer.", "att_cnn.")) for name in names.values()):
        names = {theirs: _renamed(name, _LEGACY) for theirs, name in names.items()}
    return {name: weights[theirs] for theirs, name in names.items()}


def as_timm_vit(weights: Weights) -> Weights:
    """A ViT's weights in timm's names and PyTorch's memory layout, LayerScale folded in.

    Takes timm's and DINOv2's own names, Google's ``.npz`` and Hugging Face's ``ViTModel`` and ``Dinov2Model``.

    Raises:
      ValueError: for keys of none of these.
    """
    if "Transformer/posembed_input/pos_embedding" in weights:
        found = _from_google(weights)
    elif any("embeddings.patch_embeddings.projection.weight" in name for name in weights):
        found = {_renamed(name, _HUGGING_FACE): array for name, array in weights.items()}
    elif "patch_embed.proj.weight" in weights:
        found = dict(weights)
    else:
        raise ValueError(f"expected a ViT in timm's, Google's or Hugging Face's names, found {_some(weights)}")
    return _scales_folded_in(_joined_qkv(found))


def as_torchvision_resnet(weights: Weights) -> Weights:
    """A ResNet's weights in torchvision's names, which are also timm's.

    Raises:
      ValueError: for keys of another network, among them the JAX ResNets whose arithmetic differs from torchvision's.
    """
    if any(name.split("/")[0] in ("root_block", "resnet") or "standardized_conv2d" in name for name in weights):
        raise ValueError("found a BiT ResNet: its group norms and standardised convolutions are another network")
    if any("conv_init" in name for name in weights):
        raise ValueError(
            "found a ResNet of Flax's examples: its strided convolutions pad one pixel beside torchvision's, so that "
            "the same weights compute something else"
        )
    if "layer1.0.conv1.weight" not in weights:
        raise ValueError(f"expected a ResNet in torchvision's or timm's names, found {_some(weights)}")
    return weights


def _renamed(name: str, rules: _Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _some(weights: Mapping[str, Any]) -> str:
    """The first few keys, for a message."""
    return ", ".join(sorted(weights)[:4]) + (", ..." if len(weights) > 4 else "")


def _from_google(weights: Weights) -> dict[str, np.ndarray]:
    """Google's JAX arrays as PyTorch would store them."""
    found = {}
    for theirs, array in weights.items():
        name = _renamed(theirs, _GOOGLE)
        if name == "patch_embed.proj.weight":
            array = array.transpose(3, 2, 0, 1)  # (k, k, 3, d) -> (d, 3, k, k)
        elif re.search(r"\.attn\.(query|key|value)\.", name):
            # kernel (d, heads, d / heads) -> (d, d) -> transposed; bias (heads, d / heads) -> (d,)
            array = array.reshape(array.shape[0], -1).T if name.endswith("weight") else array.reshape(-1)
        elif name.endswith(".attn.proj.weight"):
            array = array.reshape(-1, array.shape[-1]).T  # (heads, d / heads, d) -> (d, d), transposed
        elif array.ndim == 2:
            array = array.T
        found[name] = array
    return found


def _joined_qkv(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Separate query, key and value projections as timm's one ``qkv``."""
    joined = {}
    for name, array in weights.items():
        part = re.search(r"\.attn\.(query|key|value)\.(\w+)$", name)
        if part is None:
            joined[name] = array
        elif part[1] == "query":
            rest = [weights.get(name.replace(".query.", f".{other}.")) for other in ("key", "value")]
            if any(other is None for other in rest):
                raise ValueError(f"{name}: found without its key and value")
            joined[name.replace(".query.", ".qkv.")] = np.concatenate([array, *rest])
    return joined


def _scales_folded_in(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """LayerScale multiplies a branch's result by channel, as the last linear layer of that branch can."""
    folded = dict(weights)
    for name in weights:
        match = re.fullmatch(r"(blocks\.\d+)\.ls([12])\.gamma", name)
        if match:
            gamma = folded.pop(name)
            layer = f"{match[1]}.{'attn.proj' if match[2] == '1' else 'mlp.fc2'}"
            for part in ("weight", "bias"):
                array = folded[f"{layer}.{part}"]
                folded[f"{layer}.{part}"] = array * (gamma[:, None] if array.ndim == 2 else gamma)
    return folded
