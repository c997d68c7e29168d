"""Every image is predicted once, and what a model says of it is what the table holds."""

import csv
import types

import jax
import numpy as np
import pytest

from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.loading import Loading
from glintiqa_jax.data.own import read_csv
from glintiqa_jax.data.records import RecordSource
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.prediction import Predictions, images_at_once, predict_source, read_predictions
from glintiqa_jax.scoring.card import ModelCard, View
from glintiqa_jax.sharding import make_mesh


def predictions_by(predict, source, positions, *, grid=1, scale=None, output="quality", loading=Loading()):
    """By a model of crops of 8 pixels."""
    network = types.SimpleNamespace(crop_size=8)
    card = ModelCard(network, scale or source.scale, View(grid=grid), output)
    return predict_source(predict, source, positions, card, mesh=make_mesh(), batch_size=8, loading=loading)


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_predictions_belong_to_their_images(rated_folder, tmp_path, lower_is_better):
    collection = read_csv(*rated_folder(7), score_range=(0, 100), lower_is_better=lower_is_better)
    source = RecordSource(prepare(collection, tmp_path / "data"))
    positions = np.array([5, 0, 6, 2, 3])

    def quality_is_brightness(crops: jax.Array) -> jax.Array:
        return crops.astype(np.float32).mean(axis=(2, 3, 4)) / 255

    found = predictions_by(quality_is_brightness, source, positions, grid=2)
    assert found.names == [f"image{i:02d}.png" for i in positions]
    np.testing.assert_array_equal(found.target, [source[i]["raw_score"] for i in positions])
    for name, predicted, deviation, position in zip(
        found.names, found.predicted, found.crop_deviation, positions, strict=True
    ):
        image = source[position]["image"]
        corners = [image[r : r + 8, c : c + 8] for r in (0, image.shape[0] - 8) for c in (0, image.shape[1] - 8)]
        quality = np.array([corner.mean() / 255 for corner in corners])
        raw = 100 * (1 - quality if lower_is_better else quality)
        assert (predicted, deviation) == (pytest.approx(raw.mean(), rel=1e-5), pytest.approx(raw.std(), rel=1e-4)), name
    found.write_csv(tmp_path / "predictions.csv")
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == found.names
    assert float(rows[0]["predicted"]) == pytest.approx(found.predicted[0], rel=1e-5)


def test_predictions_are_brought_to_the_unit_of_the_images(rated_folder, tmp_path):
    """A network that was trained on DMOS 0 to 1 says 0.25 of everything: three quarters of the way up 0 to 100."""
    source = RecordSource(prepare(read_csv(*rated_folder(3), score_range=(0, 100)), tmp_path / "data"))
    scale = ScoreScale(0, 1, lower_is_better=True)
    found = predictions_by(
        lambda crops: np.full(crops.shape[:2], 0.25), source, np.arange(3), scale=scale, output="raw"
    )
    np.testing.assert_allclose(found.predicted, 75.0)


def test_a_record_that_cannot_be_read_is_left_out_on_request(rated_folder, tmp_path):
    source = RecordSource(prepare(read_csv(*rated_folder(5)), tmp_path / "data"))
    read = source._record

    def damaged(position, name):
        if position == 3:
            raise InputError("record 3 is damaged")
        return read(position, name)

    source._record = damaged
    with pytest.raises(InputError, match="record 3 is damaged"):
        predictions_by(lambda crops: np.zeros(crops.shape[:2]), source, np.arange(5))
    skipping = Loading(on_bad_image="skip")
    found = predictions_by(lambda crops: np.zeros(crops.shape[:2]), source, np.arange(5), loading=skipping)
    assert found.positions.tolist() == [0, 1, 2, 4]


def test_predictions_that_are_not_finite_are_named(rated_folder, tmp_path):
    source = RecordSource(prepare(read_csv(*rated_folder(3)), tmp_path / "data"))
    with pytest.raises(FloatingPointError, match=r"image02\.png"):
        predictions_by(lambda crops: np.full(crops.shape[:2], np.nan), source, np.array([2]))


def test_predictions_come_back_from_their_file(rated_folder, tmp_path):
    source = RecordSource(prepare(read_csv(*rated_folder(5), score_range=(0, 100)), tmp_path / "data"))
    positions = np.array([3, 0, 4])
    said = np.float32([0.123456789, 1 / 3, 2e-7]).astype(np.float64)
    names = [source.index.names[position] for position in positions]
    written = Predictions.of(source, positions, said, said / 7)
    written.write_csv(tmp_path / "predictions.csv")
    found = read_predictions(tmp_path / "predictions.csv", source)
    assert (found.names, found.positions.tolist(), found.databases) == (names, [3, 0, 4], ["csv"] * 3)
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["group"], row["score_std"]) for row in rows] == [(group, "") for group in written.groups]
    np.testing.assert_array_equal(found.predicted.astype(np.float32), said.astype(np.float32))
    np.testing.assert_array_equal(found.target, written.target)


def test_predictions_of_other_images_are_refused_by_name(rated_folder, tmp_path):
    source = RecordSource(prepare(read_csv(*rated_folder(5)), tmp_path / "data"))
    rows = "".join(f"other{number}.png,1,0,1\n" for number in range(7))
    (tmp_path / "predictions.csv").write_text("name,predicted,crop_deviation,score\nimage01.png,1,0,1\n" + rows)
    with pytest.raises(InputError, match=r"7 of its images are not in csv: other0\.png, .*other4\.png, \.\.\.$"):
        read_predictions(tmp_path / "predictions.csv", source)


@pytest.mark.parametrize(
    ("images", "crop_size", "devices", "expected"),
    [(200, 64, 1, 7), (200, 224, 1, 1), (3, 32, 1, 3), (200, 32, 1, 16), (200, 224, 8, 8), (3, 32, 8, 8)],
)
def test_a_batch_on_cpus_is_as_large_as_is_fast(images, crop_size, devices, expected):
    mesh = make_mesh(devices=jax.devices()[:devices])
    assert images_at_once(16, images, 25 * crop_size**2, mesh) == expected
