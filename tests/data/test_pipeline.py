"""Prepared records and the batches made of them."""

import dataclasses
import hashlib
import itertools
import json

import numpy as np
import pytest
from conftest import write_rated_folder

from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.crops import Crops
from glintiqa_jax.data.images import BadImageError, decode_image, resized
from glintiqa_jax.data.loading import Loading
from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.own import Columns, read_csv
from glintiqa_jax.data.pipeline import Batching, evaluation_batches, training_batches
from glintiqa_jax.data.records import RecordSource
from glintiqa_jax.errors import InputError


@pytest.fixture
def source(rated_folder, tmp_path):
    folder, scores = rated_folder(7)
    return RecordSource(prepare(read_csv(folder, scores, Columns(group_column="scene")), tmp_path / "data"))


def test_records_hold_what_was_read(source, tmp_path):
    item = source[2]
    assert item["name"] == "image02.png"
    np.testing.assert_array_equal(
        item["image"], decode_image((tmp_path / "images" / "image02.png").read_bytes(), "image02.png")
    )
    assert item["raw_score"] == 66.667  # to the last digit of the CSV
    assert item["score"] == np.float32(0.66667)
    assert item["group"] == "scene1"
    assert (len(source), len(set(source.index.groups))) == (7, 4)


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
    with pytest.raises(InputError, match=r"expected a prepared dataset"):
        RecordSource(folder)
    assert len(RecordSource(prepare(collection, tmp_path / "data"))) == 4


def test_a_bad_image_fails_or_is_skipped_and_listed(rated_folder, tmp_path):
    folder, scores = rated_folder(6)
    (folder / "image03.png").write_bytes(b"no image")
    collection = read_csv(folder, scores)
    with pytest.raises(BadImageError, match=r"image03.png: not an image.*`on_bad_image='skip'`"):
        prepare(collection, tmp_path / "data")
    prepared = prepare(collection, tmp_path / "data", on_bad_image="skip")
    source = RecordSource(prepared)
    assert [source[i]["name"] for i in range(5)] == [f"image{i:02d}.png" for i in (0, 1, 2, 4, 5)]
    (skipped,) = json.loads((prepared / "card.json").read_text())["skipped"]
    assert skipped.startswith("image03.png")


def test_no_good_image_is_an_error(rated_folder, tmp_path):
    folder, scores = rated_folder(2)
    for image in folder.iterdir():
        image.write_bytes(b"no image")
    with pytest.raises(InputError, match="none of the 2 images of csv can be decoded"):
        prepare(read_csv(folder, scores), tmp_path / "data", on_bad_image="skip")


def train(source, positions=None, *, first_batch=0, share=((0,), 1), targets=None, **options):
    """Batches of three crops of 8 pixels; ``options`` are of ``Batching`` and of ``Loading``."""
    positions = np.arange(len(source)) if positions is None else positions
    targets = source.scale.to_quality(source.index.raw_scores) if targets is None else targets
    loading = {
        name: options.pop(name) for name in ("num_workers", "cache_megabytes", "on_bad_image") if name in options
    }
    batching = Batching(**{"crop_size": 8, "batch_size": 3, "seed": 5} | options)
    return training_batches(
        source, positions, targets, batching, first_batch=first_batch, share=share, loading=Loading(**loading)
    )


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
    assert_same(take(iter(train(source)), 12), take(iter(train(source, cache_megabytes=100)), 12))


def test_a_seed_makes_a_sequence(source):
    first, other = take(iter(train(source)), 1)[0], take(iter(train(source, seed=6)), 1)[0]
    assert not np.array_equal(first["image"], other["image"])


def test_every_epoch_takes_every_image_once_in_another_order(source):
    scores = [float(batch["target"][0]) for batch in take(iter(train(source, batch_size=1)), 21)]
    epochs = [scores[0:7], scores[7:14], scores[14:21]]
    assert all(sorted(epoch) == sorted(epochs[0]) and len(set(epoch)) == 7 for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_batches_go_on_where_they_stopped_with_any_number_of_workers(source):
    expected = take(iter(train(source)), 9)[4:]
    assert_same(take(iter(train(source, first_batch=4)), 5), expected)
    assert_same(take(iter(train(source, first_batch=4, num_workers=2)), 5), expected)


def test_several_crops_of_an_image_come_side_by_side(source):
    images = np.concatenate([batch["target"] for batch in take(iter(train(source, batch_size=2)), 7)])
    batches = take(iter(train(source, batch_size=6, crops_per_image=3)), 7)
    assert batches[0]["image"].shape == (6, 8, 8, 3)
    targets = np.concatenate([batch["target"] for batch in batches])
    np.testing.assert_array_equal(targets, np.repeat(images, 3))
    assert not np.array_equal(batches[0]["image"][0], batches[0]["image"][1])
    with pytest.raises(ValueError, match="batch_size: expected a multiple of the 4 crops that an image gives"):
        train(source, batch_size=6, crops_per_image=4)


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_every_batch_of_one(source, count):
    """What the processes get together is what one process would get, image for image and in its order."""
    whole = take(iter(train(source, batch_size=6)), 5)
    parts = [take(iter(train(source, batch_size=6, first_batch=1, share=((p,), count))), 4) for p in range(count)]
    together = [
        {key: np.concatenate([part[key] for part in batch]) for key in batch[0]} for batch in zip(*parts, strict=True)
    ]
    assert_same(together, whole[1:])


def test_devices_of_a_process_that_are_not_side_by_side_get_their_own_rows(source):
    whole = take(iter(train(source, batch_size=8)), 3)
    for mine in ((0, 2), (3, 1)):
        part = take(iter(train(source, batch_size=8, share=(mine, 4))), 3)
        rows = [row for block in mine for row in (2 * block, 2 * block + 1)]
        assert_same(part, [{key: batch[key][rows] for key in batch} for batch in whole])


@pytest.mark.parametrize("count", [2, 5])
def test_processes_share_the_evaluation(source, count):
    parts = [
        list(evaluation_batches(source, np.arange(7), Crops(8, 1), batch_size=10, process=(p, count)))
        for p in range(count)
    ]
    assert {len(part) for part in parts} == {1}
    positions = np.concatenate([part[0]["position"] for part in parts])
    assert positions.tolist() == [*range(7), -1, -1, -1]


def damage(source, number):
    """Let one record of a source be unreadable."""
    read = source._record

    def damaged(position, name):
        if position == number:
            raise InputError(f"record {position} is damaged")
        return read(position, name)

    source._record = damaged


def test_a_record_that_has_become_unreadable_stops_training_or_is_passed_over(source, caplog):
    whole = np.concatenate([batch["position"] for batch in take(iter(train(source, batch_size=7)), 3)])
    damage(source, 3)
    with pytest.raises(InputError, match="record 3 is damaged"):
        take(iter(train(source)), 3)
    kept = np.concatenate(
        [batch["position"] for batch in take(iter(train(source, batch_size=7, on_bad_image="skip")), 3)]
    )
    assert kept.tolist() == [4 if position == 3 else position for position in whole]
    assert caplog.text.count("the next image is taken instead: record 3 is damaged") == 1
    evaluated = evaluation_batches(
        source, np.arange(7), Crops(8, 1), batch_size=7, loading=Loading(on_bad_image="skip")
    )
    assert next(iter(evaluated))["position"].tolist() == [0, 1, 2, -1, 4, 5, 6]


@pytest.fixture
def mixture(source, rated_folder, tmp_path):
    """Seven images of one database and five of another, whose scores are -10 to 400, lower is better."""
    images, scores = write_rated_folder(tmp_path / "other", 5, seed=9)
    other = read_csv(images, scores, score_range=(-10, 400), lower_is_better=True)
    renamed = dataclasses.replace(other, name="other")
    return MixedSource([source, RecordSource(prepare(renamed, tmp_path / "data"))], [3.0, 1.0])


def test_a_mixture_brings_every_score_to_quality(mixture):
    assert (len(mixture), len(set(mixture.index.groups))) == (12, 4 + 5)
    assert mixture.index.names[6:8] == ["csv/image06.png", "other/image00.png"]
    item = mixture[8]
    assert (item["name"], item["group"]) == ("other/image01.png", "other/image01.png")
    assert item["score"] == pytest.approx(1 - 85 / 410)
    assert item["raw_score"] == pytest.approx(1 - 85 / 410)
    np.testing.assert_array_equal(item["image"], mixture.parts[1][1]["image"])
    assert mixture.part_of(np.array([0, 6, 7, 11])).tolist() == [0, 0, 1, 1]


def test_a_mixture_draws_by_weight_each_part_in_epochs(mixture):
    targets = np.concatenate([b["target"] for b in take(iter(train(mixture, np.arange(12), batch_size=4)), 35)])
    of_first = np.isin(targets, mixture.index.raw_scores[:7].astype(np.float32))
    assert of_first.mean() == pytest.approx(0.75, abs=0.01)
    first = targets[of_first]
    assert all(len(set(first[start : start + 7])) == 7 for start in range(0, 98, 7))


def test_a_mixture_goes_on_where_it_stopped(mixture):
    positions = np.array([0, 3, 4, 8, 11])
    whole = take(iter(train(mixture, positions)), 9)
    assert_same(take(iter(train(mixture, positions, first_batch=4)), 5), whole[4:])
    assert set(np.concatenate([batch["position"] for batch in whole])) == set(positions)


def test_what_cannot_be_mixed_is_refused(source):
    with pytest.raises(InputError, match="dataset: expected each database once, found csv, csv; `named` gives"):
        MixedSource([source, source], [1, 1])
    assert MixedSource([source, source.named("two")], [1, 1]).name == "csv,two"


def test_batches_stay_those_of_the_versions_before(source, mixture):
    """Bit for bit: what is resumed goes on with the batches that it began with."""
    raw, few = source.index.raw_scores, np.arange(5)
    batches = {
        "802716bcbd1203b1": train(source),
        "16f0a7f2dca2aea1": train(source.resized(20), seed=6),
        "c268f6b9206be04b": train(source, batch_size=6, crops_per_image=3, vertical_flips=False),
        "fc73a20db7811fc6": train(
            source,
            few,
            targets=raw,
            crop_size=16,
            batch_size=4,
            seed=7,
            crops_per_image=2,
            share=((1,), 2),
            first_batch=2,
        ),
        "80df4cbffa271c6f": train(mixture, batch_size=4, cache_megabytes=100),
        "54a15a8e04710441": evaluation_batches(mixture, np.arange(12)[::-1], Crops(8, 3), batch_size=5),
        "9a57f4f4a9c76ffd": evaluation_batches(
            source, np.arange(7), Crops(8, random=4, seed=7), batch_size=6, process=(1, 2)
        ),
    }
    assert {name: digest(found) for name, found in batches.items()} == {name: name for name in batches}


def digest(batches):
    """Of the first nine batches: keys, types, shapes and values."""
    sha = hashlib.sha256()
    for batch in itertools.islice(batches, 9):
        for key, value in sorted(batch.items()):
            sha.update(f"{key} {value.dtype} {value.shape}".encode() + value.tobytes())
    return sha.hexdigest()[:16]


class Shrink:
    """A transform that resizes, to a side between the crop's and the image's."""

    name = "shrink"

    def __init__(self, share=1.0):
        self.share, self.drawn = share, []

    def smallest(self, crop_size):
        return crop_size + 1

    def __call__(self, image, crop_size, rng):
        side = int(rng.integers(crop_size, min(image.shape[:2])))
        self.drawn.append((side, rng.random()))
        return resized(image, (side, side)) if rng.random() < self.share else image


def test_a_transform_draws_from_a_stream_of_its_own(source):
    plain = take(iter(train(source)), 4)
    assert_same(plain, take(iter(train(source, transforms=[Shrink(share=0.0)])), 4))
    alone, beside = Shrink(), Shrink()
    shrunk = take(iter(train(source, transforms=[alone])), 4)
    other = Shrink(share=0.0)
    other.name = "other"
    assert_same(shrunk, take(iter(train(source, transforms=[other, beside])), 4))
    assert any((one["image"] != two["image"]).any() for one, two in zip(plain, shrunk, strict=True))
    assert len(set(alone.drawn)) >= 12
    assert not set(alone.drawn) & set(other.drawn)


class Darker:
    """A ladder of two versions, each darker than the one before by as much as was drawn."""

    levels = 2

    def __call__(self, crop, rng):
        step = int(rng.integers(2, 9))
        return [crop // step, crop // step**2]


def test_a_ladder_follows_each_crop(source):
    plain = take(iter(train(source, batch_size=2, crops_per_image=2)), 4)
    ladders = take(iter(train(source, batch_size=6, crops_per_image=2, ladder=Darker())), 4)
    assert_same(plain, [{key: value[::3] for key, value in batch.items()} for batch in ladders])
    for batch in ladders:
        assert (np.diff(batch["image"].reshape(2, 3, -1).mean(axis=2), axis=1) < 0).all()
        assert (batch["target"].reshape(2, 3) == batch["target"][0]).all()
    with pytest.raises(InputError, match="batch_size: expected a multiple of the 3 crops that an image gives"):
        train(source, batch_size=4, ladder=Darker())


def test_one_of_several_images_has_a_ladder(source):
    """In one process and in two, which have a group of three images each: the first's crop, two versions, two crops."""
    plain = take(iter(train(source, batch_size=6)), 4)
    options = {"batch_size": 10, "ladder": Darker(), "ladder_every": 3}
    whole = take(iter(train(source, **options)), 4)
    crops = [0, 3, 4, 5, 8, 9]
    assert_same(plain, [{key: value[crops] for key, value in batch.items()} for batch in whole])
    for batch in whole:
        assert (np.diff(batch["image"].reshape(2, 5, -1)[:, :3].mean(axis=2), axis=1) < 0).all()
    halves = [take(iter(train(source, **options, share=((index,), 2))), 4) for index in range(2)]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert_same([batch], [{key: np.concatenate([part[key] for part in parts]) for key in batch}])
    with pytest.raises(InputError, match="batch_size: expected a multiple of the 5 crops that 3 images give"):
        train(source, **options | {"batch_size": 12})


def test_images_that_are_too_small_for_what_is_made_of_them_are_named_before_any_work(source):
    with pytest.raises(InputError, match=r"crop_size=40: expected images of at least 41 .*found image00.png of 40x48"):
        train(source, crop_size=40, transforms=[Shrink()])
    assert len(take(iter(train(source, crop_size=40)), 2)) == 2
    with pytest.raises(InputError, match="targets: expected 7 numbers, one an image, found"):
        train(source, targets=np.zeros(3))


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 0), (7, 0), (10, 0), (3, 2)])
def test_evaluation_takes_every_image_exactly_once(source, workers, batch_size):
    chosen = np.array([6, 0, 3, 2, 5])
    batches = list(evaluation_batches(source, chosen, Crops(8, 2), batch_size=batch_size, loading=Loading(workers)))
    assert {batch["image"].shape for batch in batches} == {(batch_size, 4, 8, 8, 3)}
    positions = np.concatenate([batch["position"] for batch in batches])
    assert positions[positions >= 0].tolist() == chosen.tolist()
    for batch in batches:
        for crops, position in zip(batch["image"], batch["position"], strict=True):
            if position >= 0:
                np.testing.assert_array_equal(crops[0], source[position]["image"][:8, :8])


def test_crops_at_random_are_a_function_of_the_image_and_the_seed(source):
    """Not of what stands beside it, nor of the order."""

    def crops(positions, seed):
        batches = evaluation_batches(source, np.array(positions), Crops(8, random=25, seed=seed), batch_size=2)
        found = {int(p): c for batch in batches for p, c in zip(batch["position"], batch["image"], strict=True)}
        assert {c.shape for c in found.values()} == {(25, 8, 8, 3)}
        return found

    one, other = crops([6, 0, 3], 0), crops([3, 2], 0)
    np.testing.assert_array_equal(one[3], other[3])
    assert (one[3] != crops([3], 1)[3]).any()
    assert len({crop.tobytes() for crop in one[6]}) > 5
