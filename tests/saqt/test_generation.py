"""Generation: every image a pure function of its photograph, whoever makes it; interrupted work goes on."""

import dataclasses
import shutil

import numpy as np
import pytest
from pristine import make_sources

from glintiqa_jax.data.builder import is_prepared, prepare
from glintiqa_jax.data.databases import read_database
from glintiqa_jax.data.images import decode_image
from glintiqa_jax.data.records import RecordSource
from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt import generation
from glintiqa_jax.saqt.distortions import distort
from glintiqa_jax.saqt.generation import (
    Recipe,
    claimed,
    collection,
    distorted,
    from_line,
    is_written,
    rated_images,
    to_line,
    versions,
    write_all,
    write_distorted,
    write_labels,
)

NAMES = ["street", "park/tree"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Sources, and the folder with what two processes made of them."""
    folder = tmp_path_factory.mktemp("made")
    sources = make_sources(folder / "pristine", NAMES)
    write_all(sources, folder / "images", Recipe(seed=5), workers=2)
    return sources, folder / "images"


class Median:
    """A denoiser of another name."""

    name = "median"

    def __call__(self, channel, variance):
        return np.full_like(channel, np.median(channel))


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_process_makes_the_same_files_as_two(made, tmp_path):
    sources, folder = made
    for source in reversed(sources):
        write_distorted(source, tmp_path, Recipe(seed=5))
    assert files(tmp_path) == files(folder)
    assert len(files(folder)) == 2 * 126


def test_images_are_the_distortions_of_the_photograph(made):
    sources, folder = made
    for source in sources:
        pristine = Recipe().pristine(source.path)
        for rated in list(rated_images(source, folder))[::31]:
            kind, level = rated.distortion_type, rated.distortion_level
            expected = distorted(pristine, source.name, kind, level, seed=5)
            np.testing.assert_array_equal(decode_image(rated.encoded(), rated.name), expected)
    blurred = distorted(pristine, "any", 1, 4)
    np.testing.assert_array_equal(blurred, distort(pristine, "gaussian_blur", 4))


def test_random_distortions_differ_by_source_and_seed(made):
    sources, _ = made
    pristine = Recipe().pristine(sources[0].path)
    draws = [distorted(pristine, name, 11, 3, seed=seed) for name in ("a", "b") for seed in (0, 1)]
    draws += [distorted(pristine, name, 11, 3) for name in ("a/01", "b/01")]
    assert all((one != other).any() for i, one in enumerate(draws) for other in draws[:i])


def test_what_is_made_is_not_made_again_unless_something_changed(made, monkeypatch, tmp_path):
    sources, _ = made
    source, calls = sources[0], []

    def counted(*args, **kwargs):
        calls.append(args)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(generation, "distorted", counted)
    write_distorted(source, tmp_path, Recipe())
    write_distorted(source, tmp_path, Recipe())
    assert len(calls) == 125
    changed = [
        (source, Recipe(seed=1)),
        (source, Recipe(max_side=36)),
        (source, Recipe(denoiser=Median())),
        (dataclasses.replace(source, digest="another photograph"), Recipe()),
    ]
    for number, (other, recipe) in enumerate(changed, start=2):
        write_distorted(other, tmp_path, recipe)
        assert len(calls) == 125 * number
    assert len(files(tmp_path)) == 126


@pytest.fixture
def flat(monkeypatch):
    """Distorted images of one colour each, which cost nothing."""

    def distorted(pixels, source, distortion, level, *, seed, denoiser):
        return np.full((8, 8, 3), 10 * distortion + level, np.uint8)

    monkeypatch.setattr(generation, "distorted", distorted)


@pytest.mark.parametrize("damage", ["deleted", "truncated", "emptied", "unmarked", "marked by others", "gone"])
def test_what_is_damaged_is_made_anew(made, flat, tmp_path, damage):
    source = made[0][1]
    place = write_distorted(source, tmp_path, Recipe())
    whole = files(tmp_path)
    (place / "notes.txt").write_text("a user's own")
    image = place / "tree_07_03.png"
    if damage == "deleted":
        image.unlink()
    elif damage == "truncated":
        image.write_bytes(image.read_bytes()[:-1])
    elif damage == "emptied":
        image.write_bytes(b"")
    elif damage == "unmarked":
        (place / ".made_of").write_text("{}")
    elif damage == "marked by others":
        (place / ".made_of").write_bytes(b"\xff")
    else:
        shutil.rmtree(place)
        place.mkdir()
        (place / ".made_of").touch()
        (place / "notes.txt").write_text("a user's own")
    assert not is_written(source, tmp_path, Recipe())
    write_distorted(source, tmp_path, Recipe())
    assert is_written(source, tmp_path, Recipe())
    assert files(tmp_path) == whole | {"park/tree/notes.txt": b"a user's own"}


def test_interrupted_work_leaves_nothing_half_made_and_goes_on(made, monkeypatch, tmp_path):
    sources, folder = made

    def fails(pixels, source, distortion, level, *, seed, denoiser):
        if distortion == 9:
            raise OSError(28, "No space left on device")  # as in writing, without the file
        return distorted(pixels, source, distortion, level, seed=seed)

    write_distorted(sources[0], tmp_path, Recipe(seed=5))
    monkeypatch.setattr(generation, "distorted", fails)
    with pytest.raises(InputError, match=r"park/tree: the disk is full; .* resumes"):
        write_distorted(sources[1], tmp_path, Recipe(seed=5))
    assert {name.split("/")[0] for name in files(tmp_path)} == {"street"}
    monkeypatch.undo()
    write_distorted(sources[1], tmp_path, Recipe(seed=5))
    assert files(tmp_path) == files(folder)


def test_folders_of_others_are_left_alone(made, tmp_path):
    (tmp_path / "street").mkdir()
    (tmp_path / "street" / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"street: expected nothing, or images made of .*found something else"):
        write_distorted(made[0][0], tmp_path, Recipe())
    with pytest.raises(InputError, match=r"^output=.*: expected no such folder, an empty one, or one written here"):
        claim(tmp_path)
    assert list(files(tmp_path)) == ["street/holiday.jpg"]


def claim(folder, recipe=None, **options):
    with claimed(folder, "output", recipe or Recipe(), **options):
        pass


def test_a_claimed_folder_can_be_claimed_again_and_loses_what_was_left_half_made(made, flat, tmp_path):
    claim(tmp_path / "new")
    place = write_distorted(made[0][1], tmp_path / "new", Recipe())
    left = tmp_path / "new" / ".partial-killed" / "made"
    left.mkdir(parents=True)
    claim(tmp_path / "new")
    assert not left.parent.exists()
    assert len(list(place.iterdir())) == 126
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^output=.*: cannot be written"):
        claim(tmp_path / "file")


def test_a_folder_of_another_recipe_is_refused_unless_it_may_be_overwritten(tmp_path):
    claim(tmp_path, Recipe(seed=1))
    for other in (Recipe(), Recipe(seed=1, max_side=64), Recipe(seed=1, denoiser=Median()), Recipe(1, distortions="")):
        with pytest.raises(InputError, match=r"^output=.*: expected images of this recipe .*found those of .*seed 1"):
            claim(tmp_path, other)
    claim(tmp_path, Recipe(), overwrite=True)
    claim(tmp_path, Recipe())


def test_two_do_not_write_into_one_folder(tmp_path):
    with claimed(tmp_path, "output", Recipe()), pytest.raises(InputError, match=r"output=.*: .* at work there"):
        claim(tmp_path)
    claim(tmp_path)


def test_large_photographs_are_shrunk_first(tmp_path):
    (source,) = make_sources(tmp_path, ["wide"], side=90)
    assert Recipe(max_side=64).pristine(source.path).shape == (64, 64, 3)
    assert Recipe(max_side=0).pristine(source.path).shape == (90, 90, 3)


def test_labels_are_read_back_as_the_collection_has_them(made):
    """The plain folder and its labels in the released columns, and the records, are one dataset."""
    sources, folder = made
    write_labels(folder / "labels.csv", sources)
    try:
        read = list(read_database("saqt", folder).images())
    finally:
        (folder / "labels.csv").unlink()
    ours = list(collection(sources, folder, Recipe(seed=5)).images())
    assert [image.name for image in read] == [image.name for image in ours]
    for one, other in zip(read, ours, strict=True):
        assert one.raw_score == pytest.approx(other.raw_score, abs=1e-5)
        assert dataclasses.replace(one, raw_score=0.0, score_std=0.0) == dataclasses.replace(
            other, raw_score=0.0, score_std=0.0
        )


def test_records_are_what_was_made(made, tmp_path):
    sources, folder = made
    near = [dataclasses.replace(source, group="one content") for source in sources]
    assert set(RecordSource(prepare(collection(near, folder, Recipe()), tmp_path / "near")).index.groups) == {
        near[0].group
    }
    what = collection(sources, folder, Recipe(seed=5))
    assert not is_prepared(what, tmp_path)
    prepared = RecordSource(prepare(what, tmp_path))
    assert is_prepared(what, tmp_path)
    with pytest.raises(InputError, match="already prepared"):
        is_prepared(collection(sources, folder, Recipe(seed=6)), tmp_path)
    assert len(prepared) == 250
    item = prepared[125 + 5 * 6 + 2]
    assert item["name"] == "park/tree/tree_07_03.png"
    assert (item["group"], item["distortion_type"], item["distortion_level"]) == ("park/tree", 7, 3)
    assert item["raw_score"] == pytest.approx(1 + 32 / 125)
    np.testing.assert_array_equal(item["image"], decode_image((folder / item["name"]).read_bytes(), ""))


def test_the_fingerprint_knows_scores_and_recipe(made):
    sources, folder = made
    changed = [dataclasses.replace(sources[0], scores=tuple(reversed(sources[0].scores))), sources[1]]
    prints = [
        collection(some, folder, recipe).identity
        for some, recipe in [
            (sources, Recipe()),
            (sources, Recipe(seed=1)),
            (changed, Recipe()),
            (sources[:1], Recipe()),
        ]
    ]
    assert len(set(prints)) == 4


def test_a_source_survives_a_line_of_text(made):
    for source in made[0]:
        assert from_line(to_line(source)) == source
        assert "\n" not in to_line(dataclasses.replace(source, name="a\nb"))


def test_versions_are_the_databases_125():
    assert versions() == [(kind, level) for kind in range(1, 26) for level in range(1, 6)]
