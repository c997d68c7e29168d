"""One image has one score: however many are scored with it, in whatever order and form, wherever it is computed."""

import dataclasses
import io
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from glintiqa_jax.data.images import limit_short_side
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.errors import InputError
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.scoring.card import ModelCard, View
from glintiqa_jax.scoring.files import load_model
from glintiqa_jax.scoring.model import Model
from glintiqa_jax.scoring.pure import bicubic
from glintiqa_jax.scoring.rows import Row

pytestmark = pytest.mark.compiled_for_users
TINY = VARIANTS["glintiqa_tiny"]
NEAR = 1e-5  # of a scale from 0 to 1


@pytest.fixture(scope="module")
def model():
    return Model(new_model(TINY), ModelCard(TINY, ScoreScale(0.0, 1.0), View(max_short_side=40)))


def photograph(seed=0, size=(52, 75)):
    """Smooth, as photographs are, so that it has edges of many kinds."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 13, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize(size[::-1], Image.Resampling.BICUBIC))


def test_one_image_scored_fifty_ways_has_one_score(model, tmp_path):
    """The README's promise: alone, among 1, 7 and 32 others in any order, from files, bytes and arrays, inside a user's
    own ``jit``, through rows, and in a process with other devices."""
    pixels = photograph()
    image, path = Image.fromarray(pixels), tmp_path / "photo.png"
    image.save(path)
    expected = model.score(path).value
    found = {}
    others = [photograph(seed, (33 + 3 * seed, 90 - seed)) for seed in range(1, 33)]
    for count in (1, 7, 32):
        for place in {0, count // 2, count}:
            for turn in (1, -1):
                images = others[:count][::turn]
                images.insert(place, path)
                found[f"{count} others, place {place}, order {turn}"] = list(model.score_many(images))[place].value
    for kind in ("png", "bmp", "tiff", "ppm", "webp"):
        content = io.BytesIO()
        image.save(content, kind, **({"lossless": True} if kind == "webp" else {}))
        found[f"bytes of {kind}"] = model.score(content.getvalue()).value
        (tmp_path / f"x.{kind}").write_bytes(content.getvalue())
        found[f"file of {kind}"] = model.score(tmp_path / f"x.{kind}").value
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    forms = {
        "array": pixels,
        "JAX's array": jnp.asarray(pixels),
        "floats to 1": pixels / 255,
        "floats to 255": pixels.astype(np.float32),
        "16 bit": pixels.astype(np.uint16) * 257,
        "list": pixels.tolist(),
        "text": str(path),
        "buffer": bytearray(path.read_bytes()),
        "view of bytes": memoryview(path.read_bytes()),
        "Pillow": image,
        "opaque": opaque,
        "Fortran's order": np.asfortranarray(pixels),
        "stride": np.repeat(pixels, 2, axis=1)[:, ::2],
    }
    found |= {name: model.score(form).value for name, form in forms.items()}
    shown = limit_short_side(pixels, 40)
    found |= {
        "jit within jit": jax.jit(lambda images: jax.jit(model)(images) + 0.0)(jnp.asarray(pixels)[None])[0],
        "jit": jax.jit(model)(pixels[None])[0],
        "vmap": jax.vmap(lambda one: model(one[None])[0])(jnp.stack([pixels, pixels]))[1],
        "batch of 7": jax.jit(model)(np.stack([*[photograph(seed) for seed in range(1, 7)], pixels]))[6],
        "floats as shown": jax.jit(model)(shown[None] / np.float32(255))[0],
    }
    row = json.loads(Row.of(path, model.score(path), model.digest).line("jsonl"))
    found |= {"row": row["score"], "percent": row["percent"] / 100}
    folder = model.save(tmp_path / "model")
    found["saved and loaded"] = load_model(folder).score(path).value
    code = f"import glintiqa_jax as giq; print(giq.load_model({str(folder)!r}).score({str(path)!r}).value)"
    for devices in (1, 3):
        flags = f"--xla_force_host_platform_device_count={devices}"
        environment = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        found[f"a process of {devices} devices"] = float(done.stdout)
    assert len(found) >= 49
    apart = {name: abs(float(score) - expected) for name, score in found.items()}
    assert max(apart.values()) <= NEAR, apart


def test_crops_at_several_sizes_are_the_same_from_files_and_within_jit(model):
    """The score is the mean of those at each size; floats are not rounded when they are shrunk, uint8 are."""
    views = {sizes: View(max_short_side=40, grid=2, sizes=sizes) for sizes in ((), (36, 33))}
    models = {n: Model(model.network, dataclasses.replace(model.card, view=view)) for n, view in views.items()}
    several, pixels = models[36, 33], photograph()
    expected = several.score(pixels).value
    shown = [limit_short_side(limit_short_side(pixels, 40), size) for size in (40, 36, 33)]
    assert np.mean([models[()].score(image).value for image in shown]) == pytest.approx(expected, abs=NEAR)
    # of some thousand pixels that are shrunk, Pillow's fixed point rounds one the other way
    assert float(jax.jit(several)(pixels[None])[0]) == pytest.approx(expected, abs=3e-4)
    assert float(jax.jit(several)(pixels[None] / np.float32(255))[0]) == pytest.approx(expected, abs=5e-3)
    assert list(several.score_many([photograph(1), pixels]))[1].value == expected


@pytest.mark.parametrize(("length", "wanted"), [(50, 20), (97, 96), (300, 41), (640, 7)])
def test_shrinking_is_pillows(length, wanted):
    image = np.random.default_rng(0).uniform(0, 255, (3, length)).astype(np.float32)
    expected = np.asarray(Image.fromarray(image).resize((wanted, 3), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(image @ bicubic(length, wanted).T, expected, atol=2e-3)


def test_its_gradient_is_that_of_finite_differences(model):
    image = jnp.asarray(photograph(3)[None] / 255.0, jnp.float32)
    direction = jnp.asarray(np.random.default_rng(1).normal(size=image.shape), jnp.float32)
    direction /= jnp.linalg.norm(direction)
    scores, slopes = jax.jit(model), jax.jit(jax.grad(lambda images: model(images).sum()))
    slope = jnp.vdot(slopes(image), direction)
    step = 0.05
    difference = (scores(image + step * direction) - scores(image - step * direction))[0] / (2 * step)
    assert abs(float(slope)) > 1e-5
    assert float(difference) == pytest.approx(float(slope), rel=0.05)


def test_sharded_over_devices_it_is_the_same(model):
    if jax.device_count() < 2:
        pytest.skip("needs several devices")
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    images = np.stack([photograph(seed) for seed in range(2 * jax.device_count())])
    spread = jax.device_put(images, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
    np.testing.assert_allclose(jax.jit(model)(spread), jax.jit(model)(images), atol=NEAR)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((64, 64, 3), np.uint8), r"images: expected \(batch, height, width, 3\)"),
        (np.zeros((1, 3, 64, 64), np.uint8), r"images: expected \(batch, height, width, 3\)"),
        (np.zeros((1, 20, 64, 3), np.uint8), "of 32 pixels a side or more"),
        (np.zeros((1, 64, 64, 3), np.int32), "images: expected uint8, or floats"),
        (np.full((1, 64, 64, 3), 200.0), r"images: expected floats in \[0, 1\], found 200 to 200"),
    ],
)
def test_what_it_cannot_take_is_named(model, images, message):
    with pytest.raises(InputError, match=message):
        model(images)


def test_images_of_many_sizes_are_compiled_once(model):
    model.score(photograph())
    before = model._predict.jitted._cache_size()
    for size in ((33, 60), (200, 40), (64, 64), (500, 333)):
        model.score(photograph(0, size))
    assert model._predict.jitted._cache_size() == before == 1


def test_an_image_smaller_than_a_crop_is_mirrored_and_that_is_said():
    large = Model(new_model(VARIANTS["glintiqa_mini"]), ModelCard(VARIANTS["glintiqa_mini"], ScoreScale(0.0, 1.0)))
    pixels = photograph(0, (40, 50))
    score = large.score(pixels)
    assert score.notes == ("mirrored at its edges to 64 pixels",)
    assert float(jax.jit(large)(jnp.asarray(pixels)[None])[0]) == pytest.approx(score.value, abs=NEAR)
    padded = np.pad(pixels, [(12, 12), (7, 7), (0, 0)], mode="symmetric")
    assert large.score(padded).value == score.value


def test_crops_at_random_are_the_same_whatever_the_image_is_called(tmp_path):
    model = Model(new_model(TINY), ModelCard(TINY, ScoreScale(0.0, 1.0), View(random_crops=5)))
    for name in ("a.png", "b.png"):
        Image.fromarray(photograph()).save(tmp_path / name)
    assert model.score(tmp_path / "a.png") == model.score(tmp_path / "b.png") == model.score(photograph())
