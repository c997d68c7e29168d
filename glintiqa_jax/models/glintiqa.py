"""GlintIQA (arXiv 2408.03885): the network."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from glintiqa_jax.errors import InputError
from glintiqa_jax.models.config import ModelConfig, variant_config
from glintiqa_jax.models.initialisation import initial_state
from glintiqa_jax.models.integration import IntegrationStage, MultiKernelEmbedding


class GlintIQA(nnx.Module):
    """One score per crop: ViT branch and CNN branch, aligned and progressively integrated.

    ``new_model`` and ``create_model`` make one, with the values that ``initialisation`` gives its parameters.
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        integration = config.integration
        self.vgfe = None if config.vit is None else config.vit.build(config, rngs=rngs)
        self.clfe = None if config.cnn is None else config.cnn.build(config, rngs=rngs)
        self.local = None if config.cnn is None else _local_embedding(config, rngs)
        taps = config.vit.tapped_blocks if config.vit else ()
        self.stages = nnx.List([IntegrationStage(config.width, config.tokens, integration, rngs=rngs) for _ in taps])
        self.head = QualityHead(config.width, dropout=integration.head_dropout, rngs=rngs)

    def __call__(
        self,
        images: jax.Array,
        *,
        train: bool = False,
        rngs: nnx.Rngs | None = None,
        return_intermediates: bool = False,
    ):
        """Scores ``(batch,)``, float32, of crops ``(batch, crop_size, crop_size, 3)``.

        Args:
          images: uint8, or floats in [0, 1]; the backbones normalise them.
          train: batch statistics and dropout as in training; dropout then takes its keys from ``rngs``.
          rngs: an ``nnx.Rngs`` with a ``dropout`` stream, needed in training when a dropout rate is not 0.
          return_intermediates: also return the maps on the way, by name: ``vit1..`` and ``f1..`` of shape
            ``(batch, tokens, d)``, ``cnn1..`` of ``(batch, height, width, channels)``, ``embedding1..``,
            ``local_cwsa``, ``local_feature`` and ``cwsa1..`` of ``(batch, 2 d, tokens)``.

        Raises:
          InputError: when the images are of another shape or dtype.
        """
        images = _in_unit_range(images, self.config.crop_size)
        steps: dict[str, jax.Array] = {}
        maps = [] if self.clfe is None else self.clfe(images, train=train)
        steps.update({f"cnn{i}": features for i, features in enumerate(maps, start=1)})
        taps = [] if self.vgfe is None else self.vgfe(images, maps)
        steps.update({f"vit{i}": tap for i, tap in enumerate(taps, start=1)})
        if self.local is None:
            feature = taps[0]  # without the CNN, integration starts from the first ViT map
        else:
            used = [maps[stage - 1] for stage in self.config.embedded_stages]
            feature, local_steps = self.local(used, train=train, rngs=rngs)
            steps.update(local_steps)
        for index, (stage, tap) in enumerate(zip(self.stages, taps, strict=True), start=1):
            feature, attended = stage.apply(tap, feature, train=train, rngs=rngs)
            steps[f"cwsa{index}"], steps[f"f{index}"] = attended, feature
        scores = self.head(feature, train=train, rngs=rngs)
        return (scores, steps) if return_intermediates else scores


def _in_unit_range(images: jax.Array, crop: int) -> jax.Array:
    """uint8 or floats in [0, 1] as float32 in [0, 1], ``(batch, crop, crop, 3)``."""
    known = images.dtype == jnp.uint8 or jnp.issubdtype(images.dtype, jnp.floating)
    if not known or images.ndim != 4 or images.shape[1:] != (crop, crop, 3):
        expected = f"uint8, or floats in [0, 1], of shape (batch, {crop}, {crop}, 3)"
        raise InputError(field="images", expected=expected, found=f"{images.dtype} {images.shape}")
    wide = images.astype(jnp.float32)
    return wide / 255.0 if images.dtype == jnp.uint8 else wide


def _local_embedding(config: ModelConfig, rngs: nnx.Rngs) -> MultiKernelEmbedding:
    assert config.cnn is not None
    used = [stage - 1 for stage in config.embedded_stages]
    return MultiKernelEmbedding(
        channels=tuple(config.cnn.channels[stage] for stage in used),
        kernels=tuple(config.patch_size // config.cnn.strides[stage] for stage in used),
        width=config.width,
        tokens=config.tokens,
        integration=config.integration,
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


def create_model(variant: str | ModelConfig, *, seed: int = 0, **replaced: Any) -> GlintIQA:
    """A newly initialised model of ``variant_config(variant, **replaced)``."""
    return new_model(variant_config(variant, **replaced), seed=seed)


def new_model(config: ModelConfig, *, seed: int = 0) -> GlintIQA:
    """A newly initialised model of a configuration; its values are a function of the seed alone."""
    graphdef, state = nnx.split(abstract_model(config))
    return nnx.merge(graphdef, initial_state(state, seed=seed, identity_start=config.integration.identity_start))


def abstract_model(config: ModelConfig) -> GlintIQA:
    """A model of shapes and dtypes, without any array."""
    return nnx.merge(*_abstract_parts(config), copy=True)


@functools.lru_cache(maxsize=16)
def _abstract_parts(config: ModelConfig) -> tuple[nnx.GraphDef, nnx.State]:
    """Its definition and state, which a run asks for several times; tracing takes half a second."""
    return nnx.split(nnx.eval_shape(lambda: GlintIQA(config, rngs=nnx.Rngs(0))))
