"""A score is a function of the image alone."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import write_images
from PIL import Image

from glintiqa_jax.data.catalog import ScoreScale
from glintiqa_jax.data.pixels import BadImageError
from glintiqa_jax.models.config import variant_config
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.scoring.scorer import Scorer
from glintiqa_jax.sharding import make_mesh
from glintiqa_jax.training.checkpoints import FOLDER, CheckpointStore, Description
from glintiqa_jax.training.config import DataConfig, TrainConfig
from glintiqa_jax.training.step import Trainer

pytestmark = pytest.mark.compiled_for_users


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    config = TrainConfig(
        data=DataConfig(max_short_side=64), variant="glintiqa_tiny", model=variant_config("glintiqa_tiny")
    )
    trainer = Trainer(config, make_mesh(devices=jax.devices()[:1]))
    store = CheckpointStore(workdir / FOLDER, Description(config, ScoreScale(0.0, 10.0), "none"), print)
    store.save(trainer.start_from(new_model(config.model)), {"srocc": 0.5})
    store.close()
    return workdir


def test_a_score_does_not_depend_on_what_is_scored_beside_it(checkpoint, tmp_path):
    names = write_images(tmp_path, 6, size=(50, 70))
    scorer = Scorer(checkpoint)
    forwards = {name: scorer.score_file(tmp_path / name) for name in names}
    backwards = {name: Scorer(checkpoint).score_file(tmp_path / name) for name in names[::-1]}
    assert forwards == backwards
    assert len(set(forwards.values())) == 6


def test_the_same_pixels_have_the_same_score_in_any_file(checkpoint, tmp_path):
    (name,) = write_images(tmp_path, 1, size=(50, 70))
    image = Image.open(tmp_path / name)
    image.save(tmp_path / "same.bmp")
    image.save(tmp_path / "same.tiff")
    scorer = Scorer(checkpoint)
    scores = {scorer.score_file(tmp_path / file) for file in (name, "same.bmp", "same.tiff")}
    assert scores == {scorer.score(np.asarray(image))}


def test_large_photographs_are_shrunk_as_in_training(checkpoint):
    scorer = Scorer(checkpoint)
    large = np.random.default_rng(0).integers(0, 256, (640, 900, 3), np.uint8)
    shrunk = np.asarray(Image.fromarray(large).resize((90, 64), Image.Resampling.BICUBIC))
    assert scorer.score(large) == scorer.score(shrunk)


def test_what_cannot_be_scored_is_named(checkpoint, tmp_path):
    scorer = Scorer(checkpoint)
    Image.new("RGB", (20, 90)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"")
    for name, message in [
        ("small.png", "small.png: an image of 20x90 pixels is smaller than the model's crop of 32"),
        ("broken.png", "broken.png: not an image"),
        ("absent.png", "absent.png: cannot be read"),
    ]:
        with pytest.raises(BadImageError, match=message):
            scorer.score_file(tmp_path / name)


def test_whatever_holds_the_pixels_has_their_score(checkpoint, tmp_path):
    (name,) = write_images(tmp_path, 1, size=(50, 70))
    path, scorer = tmp_path / name, Scorer(checkpoint)
    image = Image.open(path)
    pixels = np.asarray(image)
    alpha = np.dstack([pixels, np.full((50, 70), 255, np.uint8)])
    kinds = [
        path,
        str(path),
        path.read_bytes(),
        image,
        pixels,
        pixels.tolist(),
        jnp.asarray(pixels),
        pixels / 255,
        alpha,
    ]
    assert {scorer.score(kind) for kind in kinds} == {scorer.score_file(path)}
    grey = np.asarray(image.convert("L"))
    assert scorer.score(grey) == scorer.score(grey[:, :, None]) == scorer.score(image.convert("L"))
    large = jnp.tile(jnp.asarray(pixels), (12, 12, 1))
    assert scorer.score(large) == scorer.score(np.asarray(large))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "image: expected an image of numbers"),
        ("nowhere.png", "nowhere.png: cannot be read"),
        (Path("/"), "/: cannot be read .Is a directory"),
        ("", "expected an image, found an empty path"),
        ("a\0b", "cannot be read .embedded null"),
        (b"", "image: not an image that can be decoded"),
        ([], "image: expected"),
        ([[1, 2], [3]], "image: expected an image, found what makes no array"),
        (["a.png", "b.png"], "image: expected an image of numbers"),
        ({"a": 1}, "image: expected an image of numbers"),
        (np.zeros((2, 64, 64, 3), np.uint8), "a batch; give one image at a time"),
        (np.zeros((3, 64, 64), np.uint8), "channels come last"),
        (np.full((64, 64, 3), np.nan), "not finite"),
        (np.full((64, 64, 3), 1e6), "expected floats in 0..1 or in 0..255"),
        (np.zeros((64, 64, 3), complex), "expected an image of numbers"),
        (np.zeros((8, 90, 3), np.uint8), "image: an image of 90x8 pixels is smaller than the model's crop of 32"),
    ],
)
def test_a_wrong_kind_is_one_clear_error(checkpoint, image, message):
    with pytest.raises(ValueError, match=message):
        Scorer(checkpoint).score(image)
