"""GlintIQA (arXiv 2408.03885): the network, its configuration and the one table of variants."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
from flax import nnx

from glintiqa_jax.models.efficientnet_lite import EfficientNetLite0
from glintiqa_jax.models.initialisation import initial_state
from glintiqa_jax.models.integration import ATTENTION_LAYOUTS, IntegrationStage, MultiKernelEmbedding
from glintiqa_jax.models.resnet import ResNet
from glintiqa_jax.models.vit import VisionTransformer
from glintiqa_jax.settings import setting

_BRANCHES: dict[str, type[ResNet] | type[EfficientNetLite0]] = {
    "resnet": ResNet,
    "efficientnet_lite0": EfficientNetLite0,
}


@dataclasses.dataclass(frozen=True)
class GlintIQAConfig:
    """What the network is. The defaults are the paper's ViT-S/16 + ResNet-50 at 224x224.

    Raises ``ValueError`` naming the field when a value, or a combination of values, makes no network.
    """

    crop_size: int = setting(224, "side of the square input, in pixels")
    patch_size: int = setting(16, "side of a ViT patch, in pixels: 16 or 32")
    width: int = setting(384, "d: channels of a ViT token and of integration")
    vit_heads: int = setting(6, "attention heads of the ViT")
    vit_mlp_width: int = setting(1536, "hidden channels of the ViT's MLPs")
    tapped_blocks: tuple[int, ...] = setting(
        (6, 7, 8, 9), "ViT blocks, from 0, whose outputs are integrated, one stage each"
    )
    cnn: str = setting("resnet", "the CNN branch: 'resnet' (the paper's) or 'efficientnet_lite0'")
    resnet_blocks: tuple[int, ...] = setting((3, 4, 6), "residual blocks in each of the CNN's three stages")
    resnet_bottleneck: bool = setting(True, "bottleneck blocks (ResNet-50) rather than basic ones (ResNet-18)")
    resnet_width: int = setting(64, "channels of the CNN's stem")
    use_vit: bool = setting(True, "the ViT branch; off is an ablation")
    use_cnn: bool = setting(True, "the CNN branch; off is an ablation")
    embedded_stages: tuple[int, ...] = setting(
        (1, 2, 3), "CNN maps, from 1, that the multi-kernel embedding takes; EfficientNet-Lite0 has a fourth, at 1/32"
    )
    use_cwsa: bool = setting(True, "channel-wise self-attention")
    use_siem: bool = setting(True, "spatial interaction (3x3 convolution)")
    attention_layout: str = setting(
        "released", "CWSA's output: 'released' keeps its index shuffle, 'transposed' has none"
    )
    identity_start: bool = setting(
        False, "integration starts by passing the local feature on: steadies training from scratch"
    )
    attention_dropout: float = setting(0.5, "dropout rate in CWSA")
    head_dropout: float = setting(0.5, "dropout rate in the quality head")
    frozen_blocks: int = setting(5, "leading ViT blocks not trained; with any, the patch embedding is not either")
    frozen_stages: int = setting(0, "leading CNN stages, each up to a map, whose weights and statistics stay as loaded")
    batch_statistics: bool = setting(
        True, "the CNN normalises by the batch in training, as released; off, by the statistics loaded"
    )
    train_embeddings: bool = setting(True, "train the class token and the position embedding")

    def __post_init__(self) -> None:
        def require(condition: bool, message: str) -> None:
            if not condition:
                raise ValueError(message)

        require(self.patch_size in (16, 32), f"patch_size must be 16 or 32, found {self.patch_size}")
        require(
            self.crop_size > 0 and self.crop_size % self.patch_size == 0,
            f"crop_size must be a positive multiple of patch_size {self.patch_size}, found {self.crop_size}",
        )
        require(self.width > 0, f"width must be positive, found {self.width}")
        require(
            self.vit_heads > 0 and self.width % self.vit_heads == 0,
            f"width must be a multiple of vit_heads {self.vit_heads}, found {self.width}",
        )
        taps = self.tapped_blocks
        require(
            len(taps) > 0 and taps[0] >= 0 and all(a < b for a, b in itertools.pairwise(taps)),
            f"tapped_blocks must be increasing block numbers from 0, found {taps}",
        )
        require(self.cnn in _BRANCHES, f"cnn must be one of {', '.join(_BRANCHES)}, found {self.cnn!r}")
        # a map coarser than the token grid cannot be embedded in it
        maps = [
            number for number, stride in enumerate(_BRANCHES[self.cnn].STRIDES, start=1) if stride <= self.patch_size
        ]
        require(
            len(self.resnet_blocks) == 3 and min(self.resnet_blocks) > 0,
            f"resnet_blocks must be three positive numbers, found {self.resnet_blocks}",
        )
        require(
            len(self.embedded_stages) > 0
            and sorted(set(self.embedded_stages) & set(maps)) == list(self.embedded_stages),
            f"embedded_stages must be an increasing choice of {', '.join(map(str, maps))} where cnn is "
            f"{self.cnn} and patch_size {self.patch_size}, found {self.embedded_stages}",
        )
        require(self.use_vit or self.use_cnn, "use_vit and use_cnn must not both be off")
        require(
            self.attention_layout in ATTENTION_LAYOUTS,
            f"attention_layout must be one of {', '.join(ATTENTION_LAYOUTS)}, found {self.attention_layout!r}",
        )
        for name in ("attention_dropout", "head_dropout"):
            rate = getattr(self, name)
            require(0.0 <= rate < 1.0, f"{name} must be in [0, 1), found {rate}")
        require(
            0 <= self.frozen_blocks <= taps[-1] + 1,
            f"frozen_blocks must be between 0 and the {taps[-1] + 1} blocks that are built, found {self.frozen_blocks}",
        )
        built = self.cnn_maps
        require(
            0 <= self.frozen_stages <= built, f"frozen_stages must be from 0 to {built}, found {self.frozen_stages}"
        )

    @property
    def cnn_maps(self) -> int:
        """Maps that the CNN branch is built for: a ResNet's three, an EfficientNet-Lite0's up to the last used."""
        return self.embedded_stages[-1] if self.cnn == "efficientnet_lite0" else len(ResNet.STRIDES)

    @property
    def tokens(self) -> int:
        """N, the tokens of the square grid; CWSA's weights are N x N."""
        return (self.crop_size // self.patch_size) ** 2


class GlintIQA(nnx.Module):
    """One score per crop: ViT branch and CNN branch, aligned and progressively integrated.

    ``new_model`` and ``create_model`` make one, with the values that ``initialisation`` gives its parameters.
    """

    def __init__(self, config: GlintIQAConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.vgfe = _vit_branch(config, rngs) if config.use_vit else None
        self.clfe = _cnn_branch(config, rngs) if config.use_cnn else None
        self.local = _local_embedding(config, rngs) if config.use_cnn else None
        stages = len(config.tapped_blocks) if config.use_vit else 0
        self.stages = nnx.List(
            [
                IntegrationStage(
                    width=config.width,
                    tokens=config.tokens,
                    use_cwsa=config.use_cwsa,
                    use_siem=config.use_siem,
                    dropout=config.attention_dropout,
                    layout=config.attention_layout,
                    rngs=rngs,
                )
                for _ in range(stages)
            ]
        )
        self.head = QualityHead(config.width, dropout=config.head_dropout, rngs=rngs)

    def preprocess(self, images: jax.Array) -> jax.Array:
        """uint8 ``(..., 3)`` in [0, 255] to the float32 in [-1, 1] that the network takes.

        Mean 0.5 and standard deviation 0.5 of [0, 1], as released; what EfficientNet-Lite takes where that is the CNN.
        """
        if self.config.cnn == "efficientnet_lite0":
            return (images.astype(jnp.float32) - 127.0) / 128.0
        return (images.astype(jnp.float32) / 255.0 - 0.5) / 0.5

    def __call__(
        self,
        images: jax.Array,
        *,
        train: bool = False,
        rngs: nnx.Rngs | None = None,
        return_intermediates: bool = False,
    ):
        """Scores ``(batch,)`` of normalised float32 crops ``(batch, crop_size, crop_size, 3)``.

        Args:
          images: what ``preprocess`` gives.
          train: batch statistics and dropout as in training; dropout then takes its keys from ``rngs``.
          rngs: an ``nnx.Rngs`` with a ``dropout`` stream, needed in training when a dropout rate is not 0.
          return_intermediates: also return the maps on the way, by name: ``vit1..`` and ``f1..`` of shape
            ``(batch, tokens, d)``, ``cnn1..`` of ``(batch, height, width, channels)``, ``embedding1..``,
            ``local_cwsa``, ``local_feature`` and ``cwsa1..`` of ``(batch, 2 d, tokens)``.

        Raises:
          ValueError: when the images are not of the model's crop size.
        """
        crop = self.config.crop_size
        if images.ndim != 4 or images.shape[1:] != (crop, crop, 3):
            raise ValueError(f"images must have shape (batch, {crop}, {crop}, 3), found {images.shape}")
        steps: dict[str, jax.Array] = {}
        taps = [] if self.vgfe is None else self.vgfe(images)
        steps.update({f"vit{i}": tap for i, tap in enumerate(taps, start=1)})
        if self.clfe is None or self.local is None:
            feature = taps[0]  # without the CNN, integration starts from the first ViT map
        else:
            by_batch = train and self.config.batch_statistics
            maps = self.clfe(images, train=by_batch, frozen_stages=self.config.frozen_stages)
            steps.update({f"cnn{i}": features for i, features in enumerate(maps, start=1)})
            used = [maps[stage - 1] for stage in self.config.embedded_stages]
            feature, local_steps = self.local(used, train=train, rngs=rngs)
            steps.update(local_steps)
        for index, (stage, tap) in enumerate(zip(self.stages, taps, strict=True), start=1):
            feature, attended = stage.apply(tap, feature, train=train, rngs=rngs)
            steps[f"cwsa{index}"], steps[f"f{index}"] = attended, feature
        scores = self.head(feature, train=train, rngs=rngs)
        return (scores, steps) if return_intermediates else scores


def _vit_branch(config: GlintIQAConfig, rngs: nnx.Rngs) -> VisionTransformer:
    return VisionTransformer(
        crop_size=config.crop_size,
        patch_size=config.patch_size,
        width=config.width,
        heads=config.vit_heads,
        mlp_width=config.vit_mlp_width,
        tapped_blocks=config.tapped_blocks,
        rngs=rngs,
    )


def _cnn_branch(config: GlintIQAConfig, rngs: nnx.Rngs) -> ResNet | EfficientNetLite0:
    if config.cnn == "efficientnet_lite0":
        return EfficientNetLite0(maps=config.cnn_maps, rngs=rngs)
    return ResNet(
        stage_blocks=config.resnet_blocks,
        bottleneck=config.resnet_bottleneck,
        width=config.resnet_width,
        rngs=rngs,
    )


def _local_embedding(config: GlintIQAConfig, rngs: nnx.Rngs) -> MultiKernelEmbedding:
    channels: tuple[int, ...] = EfficientNetLite0.CHANNELS
    strides: tuple[int, ...] = EfficientNetLite0.STRIDES
    if config.cnn == "resnet":
        channels = ResNet.channels(bottleneck=config.resnet_bottleneck, width=config.resnet_width)
        strides = ResNet.STRIDES
    used = [stage - 1 for stage in config.embedded_stages]
    return MultiKernelEmbedding(
        channels=tuple(channels[stage] for stage in used),
        kernels=tuple(config.patch_size // strides[stage] for stage in used),
        width=config.width,
        tokens=config.tokens,
        use_cwsa=config.use_cwsa,
        dropout=config.attention_dropout,
        layout=config.attention_layout,
        rngs=rngs,
    )


class QualityHead(nnx.Module):
    """Mean over tokens, linear d -> d, exact GELU, dropout, linear d -> 1."""

    def __init__(self, width: int, *, dropout: float, rngs: nnx.Rngs):
        self.fc1 = nnx.Linear(width, width, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.fc2 = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x: jax.Array, *, train: bool, rngs: nnx.Rngs | None) -> jax.Array:
        """``(batch, tokens, d)`` to ``(batch,)``."""
        x = nnx.gelu(self.fc1(jnp.mean(x, axis=1, dtype=jnp.float32)), approximate=False)
        return self.fc2(self.dropout(x, deterministic=not train, rngs=rngs))[:, 0]


VARIANTS: dict[str, GlintIQAConfig] = {
    # The paper's model and its backbone sizes (table "backbones").
    "glintiqa_s16_r50": GlintIQAConfig(),
    "glintiqa_b16_r50": GlintIQAConfig(width=768, vit_heads=12, vit_mlp_width=3072),
    "glintiqa_ti16_r18": GlintIQAConfig(
        width=192, vit_heads=3, vit_mlp_width=768, resnet_blocks=(2, 2, 2), resnet_bottleneck=False
    ),
    # A CNN branch whose ImageNet weights a package carries, and a small ViT: fine-tuned on CPU in an hour.
    "glintiqa_lite": GlintIQAConfig(
        patch_size=32,
        width=192,
        vit_heads=3,
        vit_mlp_width=384,
        tapped_blocks=(0, 1, 2, 3),
        cnn="efficientnet_lite0",
        embedded_stages=(1, 2, 3, 4),
        batch_statistics=False,
        identity_start=True,
        attention_dropout=0.1,
        head_dropout=0.1,
        frozen_blocks=0,
    ),
    # The same parts, small enough to be trained from scratch on two CPU cores in minutes: the quickstart's.
    "glintiqa_mini": GlintIQAConfig(
        crop_size=64,
        width=32,
        vit_heads=2,
        vit_mlp_width=64,
        tapped_blocks=(0, 1, 2, 3),
        resnet_blocks=(1, 1, 1),
        resnet_bottleneck=False,
        resnet_width=16,
        identity_start=True,
        attention_dropout=0.0,
        head_dropout=0.0,
        frozen_blocks=0,
    ),
    # As small as the parts allow, for tests.
    "glintiqa_tiny": GlintIQAConfig(
        crop_size=32,
        width=16,
        vit_heads=2,
        vit_mlp_width=32,
        tapped_blocks=(0, 1, 2, 3),
        resnet_blocks=(1, 1, 1),
        resnet_bottleneck=False,
        resnet_width=8,
        attention_dropout=0.1,
        head_dropout=0.1,
        frozen_blocks=0,
    ),
}


def variant_config(name: str, **overrides) -> GlintIQAConfig:
    """The configuration of a variant, with some fields replaced; ``ValueError`` for an unknown name or field."""
    if name not in VARIANTS:
        raise ValueError(f"unknown variant {name!r}; the variants are {', '.join(VARIANTS)}")
    known = {field.name for field in dataclasses.fields(GlintIQAConfig)}
    if unknown := sorted(set(overrides) - known):
        raise ValueError(f"unknown model field {', '.join(unknown)}; the fields are {', '.join(sorted(known))}")
    return dataclasses.replace(VARIANTS[name], **overrides)


def create_model(name: str, *, seed: int = 0, **overrides) -> GlintIQA:
    """A newly initialised model: a variant's name, a seed, and any field of ``GlintIQAConfig`` to replace."""
    return new_model(variant_config(name, **overrides), seed=seed)


def new_model(config: GlintIQAConfig, *, seed: int = 0) -> GlintIQA:
    """A newly initialised model of a configuration; its values are a function of the seed alone."""
    graphdef, state = nnx.split(abstract_model(config))
    return nnx.merge(graphdef, initial_state(state, seed=seed, identity_start=config.identity_start))


def abstract_model(config: GlintIQAConfig) -> GlintIQA:
    """A model of shapes and dtypes, without any array."""
    return nnx.merge(*_abstract_parts(config))


@functools.lru_cache(maxsize=16)
def _abstract_parts(config: GlintIQAConfig) -> tuple[nnx.GraphDef, nnx.State]:
    """Its definition and state, which a run asks for several times; tracing takes half a second."""
    return nnx.split(nnx.eval_shape(lambda: GlintIQA(config, rngs=nnx.Rngs(0))))


def is_trainable(config: GlintIQAConfig, path: tuple, value: object) -> bool:
    """Whether the variable at an NNX path is trained: the frozen ViT prefix is not, batch statistics are not."""
    if not isinstance(value, nnx.Param):
        return False
    match path:
        case ("vgfe", "patch_embed", *_):
            return config.frozen_blocks == 0
        case ("vgfe", "blocks", int(index), *_):
            return index >= config.frozen_blocks
        case ("vgfe", "cls_token" | "pos_embed", *_):
            return config.train_embeddings
        case ("clfe", *rest):
            return _BRANCHES[config.cnn].stage(tuple(rest)) > config.frozen_stages
    return True


def parameter_counts(config: GlintIQAConfig) -> tuple[int, int]:
    """Parameters of a configuration, (total, trained), counted without building any array."""
    total = trained = 0
    for path, variable in nnx.to_flat_state(nnx.state(abstract_model(config))):
        size = math.prod(variable.shape)
        total += size * isinstance(variable, nnx.Param)
        trained += size * is_trainable(config, path, variable)
    return total, trained


def split_model(model: GlintIQA) -> tuple[nnx.GraphDef, nnx.State, nnx.State]:
    """A model as (definition, trained parameters, frozen parameters and batch statistics)."""
    graphdef, trained, *rest = nnx.split(model, lambda path, value: is_trainable(model.config, path, value), ...)
    return graphdef, trained, rest[0]
