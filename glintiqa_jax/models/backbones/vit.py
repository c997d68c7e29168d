"""The ViT branch of GlintIQA (paper section III-A): its options, and weights for it.

The network's layout is timm's; weights of DINOv2, Google and Hugging Face are brought to timm's names.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from glintiqa_jax.errors import InputError
from glintiqa_jax.models.backbones.protocol import LEAVES, BackboneConfig, Network, Rules, renamed
from glintiqa_jax.models.files import Weights, WeightsError
from glintiqa_jax.models.pretrained import HubFile
from glintiqa_jax.settings import setting

if TYPE_CHECKING:
    from flax import nnx

    from glintiqa_jax.models.vit import VisionTransformer

_PUBLISHED_BLOCKS = 12  # of which those after the last tap are never used
_PUBLISHED_CLASSES = 1000  # of the head, which is never used
_TIMM = {  # by d
    384: HubFile(
        "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
        "7913b1052f93f849b592386db8762f9256c3a885",
        "pytorch_model.bin",
        "Apache-2.0",
    ),
    768: HubFile(
        "timm/vit_base_patch16_224.augreg_in21k_ft_in1k",
        "b5b38b8f7dd93ce67d12e356a8771556b95c8cf9",
        "model.safetensors",
        "Apache-2.0",
    ),
}
_PATCHES = re.compile(r"(^|[./])(patch_embed|patch_embeddings|embedding)[./](proj|projection|kernel)")
_TO_TIMM: Rules = [(r"^patch_embed\.", "patch_embed.proj."), (r"^(blocks\.\d+)\.fc", r"\1.mlp.fc"), *LEAVES]
_HUGGING_FACE: Rules = [
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
_GOOGLE: Rules = [
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
    *LEAVES,
]


@dataclasses.dataclass(frozen=True)
class ViTConfig(BackboneConfig):
    """The ViT of the global branch; width and patch size are the network's."""

    kind: ClassVar[str] = "vit"
    title: ClassVar[str] = "ViT"
    unused: ClassVar[str] = r"(norm|fc_norm|head|head_dist|pre_logits)\..*|mask_token"

    vit_heads: int = setting(6, "attention heads of the ViT")
    vit_mlp_width: int = setting(1536, "hidden channels of the ViT's MLPs", effect="shape")
    vit_stem: int = setting(
        0, "input of the ViT's patches: 0 for the image, n for the CNN's map n (a hybrid ViT)", effect="shape"
    )
    tapped_blocks: tuple[int, ...] = setting(
        (6, 7, 8, 9), "ViT blocks, from 0, whose outputs are integrated, one stage each", effect="shape"
    )

    def __post_init__(self) -> None:
        taps = self.tapped_blocks
        if not taps or taps[0] < 0 or any(a >= b for a, b in itertools.pairwise(taps)):
            raise InputError(field="tapped_blocks", expected="increasing block numbers from 0", found=taps)
        for name in ("vit_heads", "vit_mlp_width"):
            if getattr(self, name) < 1:
                raise InputError(field=name, expected="1 or more", found=getattr(self, name))
        if self.vit_stem < 0:
            raise InputError(field="vit_stem", expected="0 or more", found=self.vit_stem)

    def build(self, network: Network, *, rngs: nnx.Rngs) -> VisionTransformer:
        """The tapped blocks of a ViT, and those before them."""
        from glintiqa_jax.models.vit import VisionTransformer

        return VisionTransformer(network, self, rngs=rngs)

    @classmethod
    def recognises(cls, names: Collection[str]) -> bool:
        """By the patch embedding, in any of the layouts."""
        return any(_PATCHES.search(name) for name in names)

    @classmethod
    def published_name(cls, name: str) -> str:
        """timm's."""
        return renamed(name, _TO_TIMM)

    def read(self, weights: Weights, network: Network | None = None) -> Weights:
        """timm's names and PyTorch's memory layout, LayerScale folded into the layer before it.

        Position embeddings of another grid are interpolated (bicubic, antialiased), patch embeddings of another size
        resized by the pseudo-inverse (Beyer et al. 2023, "FlexiViT").
        """
        if "Transformer/posembed_input/pos_embedding" in weights:
            found = _from_google(weights)
        elif any("embeddings.patch_embeddings.projection.weight" in name for name in weights):
            found = {renamed(name, _HUGGING_FACE): array for name, array in weights.items()}
        else:
            found = dict(weights)
        found = _scales_folded_in(_joined_qkv(found))
        if network is not None and "pos_embed" in found:
            found["pos_embed"] = resized_positions(found["pos_embed"], network.tokens)
        if network is not None and "patch_embed.proj.weight" in found:
            found["patch_embed.proj.weight"] = resized_patches(found["patch_embed.proj.weight"], network.patch_size)
        return found

    def may_be_unused(self, name: str) -> bool:
        """The heads, and the blocks after the last tap."""
        block = re.match(r"blocks\.(\d+)\.", name)
        return super().may_be_unused(name) or (block is not None and int(block[1]) > self.tapped_blocks[-1])

    def never_read(self, network: Network, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """The blocks after the last tap, the last norm and the head."""
        last = f"blocks.{self.tapped_blocks[-1]}."
        width = network.width
        found = {
            name.replace(last, f"blocks.{block}."): shape
            for block in range(self.tapped_blocks[-1] + 1, _PUBLISHED_BLOCKS)
            for name, shape in shapes.items()
            if name.startswith(last)
        }
        found |= {"norm.weight": (width,), "norm.bias": (width,)}
        return found | {"head.weight": (_PUBLISHED_CLASSES, width), "head.bias": (_PUBLISHED_CLASSES,)}

    def origin(self, source: str, network: Network) -> HubFile | None:
        """timm's ViT-S and ViT-B."""
        if source != "timm":
            return None
        if network.width not in _TIMM or self.vit_heads * 64 != network.width:
            found = f"a width of {network.width} with {self.vit_heads} heads"
            raise WeightsError(file="timm", expected="a ViT-S or ViT-B", found=found)
        return _TIMM[network.width]


def resized_positions(embedding: np.ndarray, tokens: int) -> np.ndarray:
    """A position embedding ``(1, 1 + M, d)``, class token first, for ``tokens`` = N places: ``(1, 1 + N, d)``."""
    import jax

    old, new = _side(embedding.shape[1] - 1), _side(tokens)
    if old == new:
        return embedding
    width = embedding.shape[2]
    # (1, M, d) -> (old, old, d) -> (new, new, d) -> (1, N, d)
    grid = embedding[0, 1:].astype(np.float32).reshape(old, old, width)
    grid = jax.image.resize(grid, (new, new, width), "cubic", antialias=True)
    return np.concatenate([embedding[:, :1], np.asarray(grid).reshape(1, tokens, width)], axis=1)


def resized_patches(kernel: np.ndarray, patch_size: int) -> np.ndarray:
    """A patch embedding ``(d, 3, k, k)`` for another patch size ``(d, 3, p, p)``.

    The new kernel answers to a resized patch as the old one did to the patch: FlexiViT's pseudo-inverse resize.
    """
    import jax

    old = kernel.shape[-1]
    if old == patch_size:
        return kernel
    # each old pixel's image under the resize: (k * k, k, k) -> (k * k, p, p) -> (k * k, p * p)
    basis = np.eye(old * old, dtype=np.float32).reshape(old * old, old, old)
    resize = jax.image.resize(basis, (old * old, patch_size, patch_size), "bilinear", antialias=False)
    inverse = np.linalg.pinv(np.asarray(resize, np.float64).reshape(old * old, -1))  # (p * p, k * k)
    # (d, 3, k, k) -> (d, 3, k * k) -> (d, 3, p * p) -> (d, 3, p, p)
    flat = kernel.reshape(*kernel.shape[:2], -1) @ inverse.T
    return flat.reshape(*kernel.shape[:2], patch_size, patch_size).astype(np.float32)


def _from_google(weights: Weights) -> dict[str, np.ndarray]:
    """Google's JAX arrays as PyTorch would store them."""
    found = {}
    for theirs, array in weights.items():
        name = renamed(theirs, _GOOGLE)
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
                raise WeightsError(f"{name}: found without its key and value")
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


def _side(tokens: int) -> int:
    side = round(tokens**0.5)
    if side * side != tokens:
        raise WeightsError(expected="a square grid of tokens", found=f"{tokens} of them")
    return side
