"""Prepared records and the batches made of them."""

import json

import numpy as np
import pytest

from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.images import BadImageError, decode_image
from glintiqa_jax.data.pipeline import evaluation_batches, training_batches
from glintiqa_jax.data.readers import read_csv
from glintiqa_jax.data.source import RatedSource
from glintiqa_jax.errors import UserError


@pytest.fixture
def source(rated_folder, tmp_path):
    folder, scores = rated_folder(7)
    return RatedSource(prepare(read_csv(folder, scores, group_column="scene"), tmp_path / "data"))


def test_records_hold_what_was_read(source, tmp_path):
    item = source[2]
    assert item["name"] == "image02.png"
    np.testing.assert_array_equal(
        item["image"], decode_image((tmp_path / "images" / "image02.png").read_bytes(), "image02.png")
    )
    assert item["raw_score"] == 66.667  # to the last digit of the CSV
    assert item["score"] == np.float32(0.66667)
    assert item["group"] == "scene1"
    assert (len(source), source.card["images"], source.card["groups"]) == (7, 7, 4)


def test_other_tfds_users_can_read_the_records(source):
    import tensorflow_datasets as tfds

    records = tfds.builder_from_directory(str(source.folder)).as_data_source(split="images")
    assert records[3]["name"] == b"image03.png"
    np.testing.assert_array_equal(records[3]["image"], source[3]["image"])


def test_preparing_again_finds_the_records(rated_folder, tmp_path):
    collection = read_csv(*rated_folder(4))
    folder = prepare(collection, tmp_path / "data")
    before = (folder / "card.json").stat().st_mtime_ns
    assert prepare(collection, tmp_path / "data") == folder
    assert (folder / "card.json").stat().st_mtime_ns == before


def test_an_interrupted_preparation_is_done_again(rated_folder, tmp_path):
    collection = read_csv(*rated_folder(4))
    folder = prepare(collection, tmp_path / "data")
    (folder / "card.json").unlink()
    with pytest.raises(UserError, match=r"expected a prepared dataset"):
        RatedSource(folder)
    assert len(RatedSource(prepare(collection, tmp_path / "data"))) == 4


def test_a_bad_image_fails_or_is_skipped_and_listed(rated_folder, tmp_path):
    folder, scores = rated_folder(6)
    (folder / "image03.png").write_bytes(b"no image")
    collection = read_csv(folder, scores)
    with pytest.raises(BadImageError, match=r"image03.png: not an image.*--on_bad_image=skip"):
        prepare(collection, tmp_path / "data")
    prepared = prepare(collection, tmp_path / "data", on_bad_image="skip")
    source = RatedSource(prepared)
    assert [source[i]["name"] for i in range(5)] == [f"image{i:02d}.png" for i in (0, 1, 2, 4, 5)]
    (skipped,) = json.loads((prepared / "card.json").read_text())["skipped"]
    assert skipped.startswith("image03.png")


def test_no_good_image_is_an_error(rated_folder, tmp_path):
    folder, scores = rated_folder(2)
    for image in folder.iterdir():
        image.write_bytes(b"no image")
    with pytest.raises(UserError, match="none of the 2 images of csv can be decoded"):
        prepare(read_csv(folder, scores), tmp_path / "data", on_bad_image="skip")


def train(source, positions=None, **options):
    options = {"crop_size": 8, "batch_size": 3, "seed": 5} | options
    return training_batches(source, np.arange(7) if positions is None else positions, **options)


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def assert_same(left, right):
    for one, other in zip(left, right, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_for_any_number_of_workers(source, workers):
    assert_same(take(iter(train(source)), 8), take(iter(train(source, num_workers=workers)), 8))


def test_a_cache_changes_nothing(source):
    assert_same(take(iter(train(source)), 12), take(iter(train(source, cache_bytes=10**8)), 12))


def test_a_seed_makes_a_sequence(source):
    first, other = take(iter(train(source)), 1)[0], take(iter(train(source, seed=6)), 1)[0]
    assert not np.array_equal(first["image"], other["image"])


def test_every_epoch_takes_every_image_once_in_another_order(source):
    scores = [float(batch["score"][0]) for batch in take(iter(train(source, batch_size=1)), 21)]
    epochs = [scores[0:7], scores[7:14], scores[14:21]]
    assert all(sorted(epoch) == sorted(epochs[0]) and len(set(epoch)) == 7 for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_an_iterator_goes_on_where_it_stopped(source):
    iterator = iter(train(source))
    take(iterator, 4)
    state = iterator.get_state()
    expected = take(iterator, 5)
    resumed = iter(train(source))
    resumed.set_state(state)
    assert_same(take(resumed, 5), expected)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 0), (7, 0), (10, 0), (3, 2)])
def test_evaluation_takes_every_image_exactly_once(source, workers, batch_size):
    chosen = np.array([6, 0, 3, 2, 5])
    batches = list(evaluation_batches(source, chosen, crop_size=8, grid=2, batch_size=batch_size, num_workers=workers))
    assert {batch["image"].shape for batch in batches} == {(batch_size, 4, 8, 8, 3)}
    positions = np.concatenate([batch["position"] for batch in batches])
    assert positions[positions >= 0].tolist() == chosen.tolist()
    for batch in batches:
        for crops, position in zip(batch["image"], batch["position"], strict=True):
            if position >= 0:
                np.testing.assert_array_equal(crops[0], source[position]["image"][:8, :8])
