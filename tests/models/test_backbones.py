"""A backbone is one class in one file: here is a new one, and all that there is works with it."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glintiqa_jax import settings
from glintiqa_jax.models.backbones import BACKBONES
from glintiqa_jax.models.backbones.protocol import LEAVES, LocalBackboneConfig, renamed
from glintiqa_jax.models.config import ModelConfig, describe, variant_config
from glintiqa_jax.models.files import arrays_of, load_weights, save_weights
from glintiqa_jax.models.freezing import freeze, split_model
from glintiqa_jax.models.glintiqa import create_model
from glintiqa_jax.models.ops import BatchNorm, Conv
from glintiqa_jax.models.weights import export_glintiqa, load_backbone


class Stack(nnx.Module):
    """A convolution of stride 4, normalised, then one of stride 2."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.first = Conv(3, width, (4, 4), strides=4, rngs=rngs)
        self.norm = BatchNorm(width)
        self.second = Conv(width, 2 * width, (2, 2), strides=2, rngs=rngs)

    def __call__(self, images: jax.Array, *, train: bool) -> list[jax.Array]:
        first = nnx.relu(self.norm(self.first(images - 0.5), train=train))
        return [first, self.second(first)]


@dataclasses.dataclass(frozen=True)
class StackConfig(LocalBackboneConfig):
    kind: ClassVar[str] = "stack"
    title: ClassVar[str] = "Stack"
    strides: ClassVar[tuple[int, ...]] = (4, 8)
    unused: ClassVar[str] = r"classifier\..*"

    stack_width: int = settings.setting(6, "channels of the first map", effect="shape")

    @property
    def channels(self) -> tuple[int, ...]:
        return (self.stack_width, 2 * self.stack_width)

    def build(self, network, *, rngs):
        return Stack(self.stack_width, rngs)

    def up_to(self, maps):
        return r"^clfe\.(first|norm)\." if maps == 1 else r"^clfe\."

    @classmethod
    def recognises(cls, names):
        return "stack.first.weight" in names

    @classmethod
    def published_name(cls, name):
        return f"stack.{renamed(name, LEAVES)}"


@pytest.fixture
def config(monkeypatch) -> ModelConfig:
    monkeypatch.setitem(BACKBONES, "stack", StackConfig)
    return variant_config("glintiqa_tiny", cnn=StackConfig(), embedded_stages=(1, 2), tapped_blocks=(0,))


def test_a_new_backbone_is_described_and_stored(config):
    assert describe(config) == "glintiqa_tiny, tapped_blocks 0, cnn stack, embedded_stages 1,2"
    assert settings.from_json(ModelConfig, settings.to_json(config)) == config


def test_a_new_backbone_is_trained_and_frozen(config):
    model = create_model(config, stack_width=4)
    freeze(model, [model.config.cnn.up_to(1)])
    graphdef, params, rest = split_model(model)
    images = jnp.asarray(np.random.default_rng(0).random((2, 32, 32, 3)), jnp.float32)

    def total(params):
        model = nnx.merge(graphdef, params, rest, copy=True)
        return jnp.sum(model(images, train=True, rngs=nnx.Rngs(dropout=0)))

    gradients = arrays_of(jax.jit(jax.grad(total))(params))
    assert {name for name in gradients if name.startswith("clfe.")} == {"clfe.second.kernel"}
    assert all(np.any(gradient) for gradient in gradients.values())


def test_a_new_backbones_weights_go_out_and_come_in(config, tmp_path):
    model, copy, branch_only = (create_model(config, seed=seed) for seed in (0, 1, 2))
    save_weights(model, tmp_path / "own.safetensors")
    load_weights(copy, tmp_path / "own.safetensors")
    official = export_glintiqa(copy)
    assert load_backbone(create_model(config), official) == "GlintIQA"
    start = "clfe.backbone."
    branch = {name.removeprefix(start): array for name, array in official.items() if name.startswith(start)}
    assert load_backbone(branch_only, branch | {"classifier.bias": np.zeros(3)}) == "Stack"
    ours, theirs = arrays_of(model), arrays_of(branch_only)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours if name.startswith("clfe."))
