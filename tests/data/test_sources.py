"""The four kinds of source: records, a folder, arrays and mixtures show the same images and can do the same."""

import shutil

import numpy as np
import pytest
from conftest import write_scores
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import glintiqa_jax.data
from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.crops import Crops
from glintiqa_jax.data.images import limit_short_side
from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.near_duplicates import known_contents
from glintiqa_jax.data.own import Columns, read_csv
from glintiqa_jax.data.pipeline import Batching, evaluation_batches, training_batches
from glintiqa_jax.data.records import RecordSource
from glintiqa_jax.datasets.config import Splitting
from glintiqa_jax.datasets.opening import split_data, usable_positions
from glintiqa_jax.errors import InputError
from glintiqa_jax.settings import replace

COUNT = 10
SCORES = [10.0 * number for number in range(COUNT)]
GROUPS = [f"scene{number // 2}" for number in range(COUNT)]
SPLITS = ["train"] * 6 + ["val"] * 2 + ["testing"] * 2
COLUMNS = {"score": "mos", "group": "scene", "split": "part"}


def picture(number, side=30):
    """Something to see, by which images are told apart."""
    small = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((side + number, side), Image.Resampling.BICUBIC))


PICTURES = [picture(number) for number in range(COUNT)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    (folder / "images").mkdir()
    for number, pixels in enumerate(PICTURES):
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    rows = zip(range(COUNT), SCORES, GROUPS, SPLITS, strict=True)
    write_scores(folder / "scores.csv", [{"image": f"{n}.png", "mos": s, "scene": g, "part": p} for n, s, g, p in rows])
    return folder


def of_folder(folder):
    return glintiqa_jax.data.from_folder(
        folder / "images", folder / "scores.csv", columns=COLUMNS, score_range=(0, 100)
    )


def of_arrays(images=PICTURES, scores=SCORES, **options):
    names = [f"{number}.png" for number in range(len(images))]
    options = {"groups": GROUPS, "splits": SPLITS, "names": names, "score_range": (0, 100)} | options
    return glintiqa_jax.data.from_arrays(images, scores, **options)


@pytest.fixture(scope="module")
def sources(folder):
    columns = Columns(group_column="scene", split_column="part")
    collection = read_csv(folder / "images", folder / "scores.csv", columns, score_range=(0, 100))
    records = RecordSource(prepare(collection, folder / "data"))
    others = of_arrays([255 - pixels for pixels in PICTURES], SCORES[::-1], lower_is_better=True)
    return {
        "records": records,
        "folder": of_folder(folder),
        "arrays": of_arrays(),
        "paths": of_arrays([str(folder / "images" / f"{number}.png") for number in range(COUNT)]),
        "mixture": MixedSource([of_folder(folder), others], [2.0, 1.0]),
    }


KINDS = ("records", "folder", "arrays", "paths", "mixture")


@pytest.mark.parametrize("kind", KINDS)
def test_equal_content_gives_equal_images(sources, kind):
    source, prefix = sources[kind], "csv/" if kind == "mixture" else ""
    for position in (0, 3, -len(source) + 9):
        item = source[position]
        np.testing.assert_array_equal(item["image"], PICTURES[position % len(source)])
        assert (item["name"], item["group"]) == (f"{prefix}{position % len(source)}.png", prefix + item["group"][-6:])
        assert item["score"] == pytest.approx(SCORES[position % len(source)] / 100)
        assert np.isnan(item["score_std"])
    with pytest.raises(IndexError):
        source[len(source)]
    small = source.resized(20)
    np.testing.assert_array_equal(small[4]["image"], limit_short_side(PICTURES[4], 20))
    assert small.sizes()[4].tolist() == list(small[4]["image"].shape[:2])
    assert source.sizes()[4].tolist() == list(PICTURES[4].shape[:2])
    assert small.identity == source.identity


@pytest.mark.parametrize("kind", KINDS)
@given(st.sampled_from(["auto", "drawn", "all"]), st.integers(0, 5))
def test_every_kind_is_split_by_content(sources, kind, how, seed):
    source = sources[kind]
    split = split_data(replace(Splitting(), split_by=how, split_seed=seed), source, smallest=30)
    sides = [{source.index.groups[p] for p in side} for side in (split.train, split.validation, split.test)]
    assert sum(map(len, sides)) == len(set(source.index.groups))
    if how == "auto":
        assert {source.index.groups[p][-6:] for p in split.test} == {"scene4"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_batches(sources, kind):
    source = sources[kind]
    targets = source.scale.to_quality(source.index.raw_scores)
    positions = usable_positions(source, 30)
    batch = next(iter(training_batches(source, positions, targets, Batching(24, 4, seed=1))))
    assert batch["image"].shape == (4, 24, 24, 3)
    np.testing.assert_allclose(batch["target"], targets[batch["position"]].astype(np.float32))
    (whole,) = evaluation_batches(source, positions, Crops(30, 1), batch_size=len(source))
    assert whole["position"].tolist() == positions.tolist()
    expected = source[2]["image"][:, 1:31]
    np.testing.assert_array_equal(whole["image"][2, 0], expected)
    with pytest.raises(InputError, match=r"crop_size: .* found 31 pixels and .*0.png of 30x30"):
        usable_positions(source, 31)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_finds_what_it_shares_with_others(sources, kind):
    source, known = sources[kind], sources["records"].looks()[:2]
    shared = known_contents(known, source.looks(), source.index.groups)
    assert np.flatnonzero(shared).tolist() == [0, 1]


def test_identity_follows_pixels_and_scores_and_not_places(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert of_folder(moved).identity == of_folder(folder).identity
    paths = [moved / "images" / f"{number}.png" for number in range(COUNT)]
    unnamed = {"names": None}
    here = of_arrays([folder / "images" / path.name for path in paths], **unnamed).identity
    assert of_arrays(paths, **unnamed).identity == here
    other = PICTURES[3].copy()
    other[0, 0, 0] ^= 1
    changed = [*PICTURES[:3], other, *PICTURES[4:]]
    Image.fromarray(other).save(paths[3])
    assert len({of_arrays().identity, of_arrays(changed).identity, of_arrays(scores=[1.0, *SCORES[1:]]).identity}) == 3
    assert of_folder(moved).identity != of_folder(folder).identity
    assert of_arrays(score_range=(0, 200)).identity != of_arrays().identity


def test_arrays_are_of_any_kind_and_may_be_all_that_is_given():
    grey = PICTURES[0][..., 0]
    images = [PICTURES[0], Image.fromarray(PICTURES[1]), PICTURES[2] / 255, grey, grey.tolist()]
    source = glintiqa_jax.data.from_arrays(images, np.arange(5), score_range=(0, 4), lower_is_better=True)
    for position in range(3):
        np.testing.assert_array_equal(source[position]["image"], PICTURES[position])
    np.testing.assert_array_equal(source[4]["image"], source[3]["image"])
    assert source.index.names == [f"{number:06d}" for number in range(5)]
    assert source.index.groups[:3] == source.index.names[:3]
    assert source.index.groups[3] == source.index.groups[4]  # they are the same, and so is what they show
    assert source.scale.describe() == "DMOS 0 to 4, lower is better"
    assert len(glintiqa_jax.data.from_arrays(np.zeros((3, 8, 9, 3), np.uint8), [1, 2, 3], score_range=(1, 3))) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scores": SCORES[1:]}, r"scores: expected 10 numbers, one for each image, found shape \(9,\)"),
        ({"scores": [*SCORES[1:], np.nan]}, r"scores\[9\]: expected a finite number, found nan"),
        ({"scores": ["good"] * COUNT}, "scores: expected numbers, found something else"),
        ({"scores": [*SCORES[1:], 101]}, r"scores\[9\]: expected a score from 0 to 100, found 101"),
        ({"score_range": None}, "score_range: expected the lowest and the highest possible score, found none"),
        ({"score_range": (5, 1)}, "score_range=5,1: expected a lowest score below the highest"),
        ({"score_range": (1, 2, 3)}, "score_range: expected lowest,highest, found 3 numbers"),
        (
            {"names": ["a", "./a", *"bcdefghi"]},
            r"names\[1\]: expected another name for each image, found 'a' of 0 again",
        ),
        ({"names": ["a"]}, "names: expected 10, one for each image, found 1"),
        ({"groups": GROUPS[1:]}, "groups: expected 10, one for each image, found 9"),
        ({"groups": [*GROUPS[1:], None]}, r"groups\[9\]: expected a content, found None"),
        ({"groups": [1.0, float("nan"), *range(8)]}, r"groups\[1\]: expected a content, found nan"),
        ({"groups": ["", *GROUPS[1:]]}, r"groups\[0\]: expected a content, found ''"),
        (
            {"score_stds": [*SCORES[1:], -1.0]},
            "score_std: expected a standard deviation of 0 or more, found -1 of 9.png",
        ),
        ({"splits": ["train"]}, "splits: expected 10, one for each image, found 1"),
        ({"splits": [*SPLITS[1:], "tset"]}, r"splits\[9\]: expected train, validation, test, found 'tset'"),
        ({"images": [*PICTURES[1:], "nowhere.png"]}, r"images\[9\]=nowhere.png: expected an image file, found nothing"),
        (
            {"images": [*PICTURES[1:], np.zeros((2, 2, 7))]},
            r"images\[9\]: expected \(height, width\), .*found \(2, 2, 7\)",
        ),
        ({"images": [*PICTURES[1:], np.array(["x"])]}, r"images\[9\]: expected an image of numbers"),
        ({"images": "photos"}, "images: expected a sequence of images, found str"),
        ({"images": []}, "images: expected a sequence of images, found list"),
    ],
)
def test_what_makes_no_source_is_named(options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        of_arrays(**options)


class Labelled(dict):
    """As a pandas Series: ``[number]`` is by label, whatever the order; iteration is by position."""

    def __iter__(self):
        return iter(self.values())


def test_groups_and_splits_are_taken_by_position():
    """Labels are not positions any more where a table was sorted or filtered."""
    labels = list(range(COUNT))[::-1]
    options = {
        name: Labelled(zip(labels, values, strict=True)) for name, values in (("groups", GROUPS), ("splits", SPLITS))
    }
    assert of_arrays(**options).index.groups == GROUPS
    assert of_arrays(**options).index.splits == of_arrays(splits=iter(SPLITS)).index.splits


def test_bad_files_of_a_folder_are_named_or_left_out(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "images" / "2.png").write_bytes(b"no image")
    (copy / "images" / "3.png").unlink()
    arguments = (copy / "images", copy / "scores.csv")
    with pytest.raises(InputError, match="1 of 10 scored images are not in"):
        glintiqa_jax.data.from_folder(*arguments, score_range=(0, 100))
    source = glintiqa_jax.data.from_folder(*arguments, score_range=(0, 100), on_bad_image="skip")
    assert (len(source), len(source.skipped)) == (8, 2)
    np.testing.assert_array_equal(source[2]["image"], PICTURES[4])
    with pytest.raises(InputError, match="score_range: expected the lowest"):
        glintiqa_jax.data.from_folder(*arguments)
    with pytest.raises(InputError, match="columns: expected image, score, group, split or std, found mos"):
        glintiqa_jax.data.from_folder(*arguments, columns={"mos": "score"}, score_range=(0, 100))
    (copy / "images" / "4.png").unlink()
    with pytest.raises(InputError, match=r"4.png: cannot be read any more"):
        source[2]
