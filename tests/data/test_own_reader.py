"""The user's own CSV: what is read, and what is refused, each with one clear error."""

import math
import os
import unicodedata

import pytest
from conftest import write_images, write_scores
from PIL import Image

from glintiqa_jax.data.own import Columns, read_csv
from glintiqa_jax.errors import InputError


def test_rows_become_rated_images(rated_folder):
    folder, scores = rated_folder(20)
    collection = read_csv(folder, scores, Columns(group_column="scene", split_column="split"), score_range=(0, 100))
    images = list(collection.images())
    assert collection.size == len(images) == 20
    assert [image.name for image in images] == [f"image{i:02d}.png" for i in range(20)]
    assert images[3].raw_score == pytest.approx(100 - 300 / 19, abs=1e-3)
    assert images[3].group == "scene1"
    assert images[3].split == "train"
    assert images[3].encoded() == (folder / "image03.png").read_bytes()
    assert collection.notes == ()


def test_without_columns_each_image_is_its_own_content(rated_folder):
    collection = read_csv(*rated_folder(5))
    assert [image.group for image in collection.images()] == [f"image{i:02d}.png" for i in range(5)]
    assert (collection.scale.low, collection.scale.high) == (0, 100)
    assert "`score_range" in collection.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffimage,mos\nimage00.png,1.5\nimage01.png,2\n",
        "image;mos\nimage00.png;1,5\nimage01.png;2\n",
        "mos\timage\r\n1.5\timage00.png\r\n2\timage01.png\r\n",
    ],
    ids=["byte-order mark", "semicolons and decimal commas", "tabs"],
)
def test_the_dialects_of_the_world(tmp_path, text):
    write_images(tmp_path / "images", 2)
    (tmp_path / "scores.csv").write_text(text, encoding="utf-8", newline="")
    scores = [image.raw_score for image in read_csv(tmp_path / "images", tmp_path / "scores.csv").images()]
    assert scores == [1.5, 2.0]


def test_the_fingerprint_follows_scores_and_not_places(rated_folder, tmp_path):
    folder, scores = rated_folder(5)
    before = read_csv(folder, scores).identity
    assert read_csv(folder, scores, lower_is_better=True).identity != before
    folder.rename(tmp_path / "moved")
    moved = read_csv(tmp_path / "moved", scores)
    assert moved.identity == before
    assert moved.sources == tuple(tmp_path / "moved" / f"image0{i}.png" for i in range(5))


@pytest.mark.parametrize(("word", "split"), [("Val", "validation"), ("TRAINING", "train"), (" dev ", "validation")])
def test_the_words_for_splits(rated_folder, word, split):
    folder, scores = rated_folder(3)
    scores.write_text(scores.read_text().replace("train", word))
    assert {image.split for image in read_csv(folder, scores, Columns(split_column="split")).images()} == {split}


def test_one_file_under_several_spellings(tmp_path):
    """A table may write a name as its system does; twice in two spellings is twice."""
    composed, decomposed = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    folder = tmp_path / "images"
    (folder / "a").mkdir(parents=True)
    for name in (f"a/{decomposed}.png", "b.png", "c.png", "d.png"):
        (folder / name).write_bytes(b"x")
    names = [f"a\\{composed}.png", "./b.png", f"{folder}/c.png", " a/../d.png\u00a0"]
    scores = write_scores(tmp_path / "scores.csv", [{"image": name, "mos": i} for i, name in enumerate(names)])
    found = list(read_csv(folder, scores).images())
    assert [image.name for image in found] == [f"a/{composed}.png", "b.png", "c.png", "d.png"]
    assert [image.encoded() for image in found] == [b"x"] * 4
    for again in (f"a/{decomposed}.png", "b.png", "x/../b.png", "c.png", f"{folder}/d.png"):
        scores = write_scores(tmp_path / "twice.csv", [{"image": name, "mos": 1} for name in [*names, again]])
        with pytest.raises(InputError, match=r"line 6: .* is named a second time, first in line [2345]"):
            read_csv(folder, scores)


def test_an_image_in_every_format_that_has_no_score_is_counted(rated_folder):
    """And what is no image, such as the table itself, is not."""
    folder, scores = rated_folder(3)
    Image.new("RGB", (8, 8)).save(folder / "more.gif")
    Image.new("RGB", (8, 8)).save(folder / "without_ending", "PNG")
    (folder / "scores.csv").write_bytes(scores.read_bytes())
    (folder / "._image00.png").write_bytes(b"system")
    (folder / "gone.png").symlink_to(folder / "nowhere")
    notes = read_csv(folder, scores, score_range=(0, 100)).notes
    assert [note.partition(": ")[2] for note in notes] == [
        f"2 images in {folder} have no score and are left out: more.gif, without_ending",
        f"in {folder}, 1 left out, link to nothing: 1 (gone.png)",
    ]


@pytest.mark.parametrize("score_range", [(0, math.inf), (-math.inf, 5), (math.nan, 5), (-1e308, 1.5e308), (0, 1e39)])
def test_a_range_that_is_not_finite_or_too_large_is_refused(rated_folder, score_range):
    with pytest.raises(InputError, match=r"score_range=.*: expected (a lowest score|scores that single precision)"):
        read_csv(*rated_folder(3), score_range=score_range)


def test_deviations_come_along(rated_folder):
    folder, scores = rated_folder(3)
    deviations = [image.score_std for image in read_csv(folder, scores, Columns(std_column="mos")).images()]
    assert deviations == [100.0, 50.0, 0.0]
    assert all(math.isnan(image.score_std) for image in read_csv(folder, scores).images())


def test_an_empty_group_is_no_group(rated_folder):
    folder, scores = rated_folder(3)
    scores.write_text(scores.read_text().replace("scene1", " "))
    with pytest.raises(InputError, match=r"line 4, column 'scene': expected a content group, found nothing"):
        read_csv(folder, scores, Columns(group_column="scene"))


def test_a_link_out_of_the_folder_is_refused(rated_folder, tmp_path):
    folder, scores = rated_folder(3)
    (folder / "image01.png").rename(tmp_path / "elsewhere.png")
    (folder / "image01.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(InputError, match=r"line 3: 'image01.png' is a link that points outside"):
        read_csv(folder, scores)


def test_images_without_a_score_are_counted(rated_folder):
    folder, scores = rated_folder(5)
    write_images(folder / "more", 2)
    notes = read_csv(folder, scores, score_range=(0, 100)).notes
    assert len(notes) == 1
    assert "2 images" in notes[0]
    assert os.path.join("more", "image00.png") in notes[0]  # noqa: PTH118


def test_missing_images_are_listed_and_counted(tmp_path):
    write_images(tmp_path / "images", 1)
    rows = [{"image": f"image{i:02d}.png", "mos": i} for i in range(9)]
    scores = write_scores(tmp_path / "scores.csv", rows)
    with pytest.raises(InputError, match=r"8 of 9 .*image01.png, .*image05.png, \.\.\.; `on_bad_image"):
        read_csv(tmp_path / "images", scores)
    collection = read_csv(tmp_path / "images", scores, on_bad_image="skip")
    assert [image.name for image in collection.images()] == ["image00.png"]
    assert len(collection.missing) == 8
    assert collection.missing[0].startswith("image01.png")


def row(image="image00.png", mos="1", **more):
    return {"image": image, "mos": mos} | more


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([row(), row("image01.png", "good")], {}, r"line 3, column 'mos': expected a number, found 'good'"),
        ([row(), row("image01.png", "nan")], {}, r"line 3, column 'mos': expected a number, found 'nan'"),
        ([row(), row()], {}, r"line 3: 'image00.png' is named a second time"),
        ([row(), row("../scores.csv", "2")], {}, r"line 3: '../scores.csv' points outside"),
        ([row(), row("/etc/hostname", "2")], {}, r"line 3: '/etc/hostname' points outside"),
        (
            [row(), row("image01.png", "2")],
            {"columns": Columns(score_column="dmos")},
            r"expected one column 'dmos', found image, mos",
        ),
        ([row(), row("image01.png", "2")], {"score_range": (0, 1.5)}, r"score_range=0,1.5: .* found 1 to 2"),
        ([row(), row("image01.png", "2")], {"score_range": (5, 1)}, r"score_range=5,1: .* found 5 and 1"),
        (
            [row(), row("image01.png", "1")],
            {},
            r"expected a lowest score below the highest, both finite, found 1 and 1",
        ),
        (
            [row(split="train"), row("image01.png", "2", split="dve")],
            {"columns": Columns(split_column="split")},
            r"line 3.*found 'dve'",
        ),
    ],
)
def test_bad_rows_are_refused_by_line(tmp_path, rows, options, message):
    write_images(tmp_path / "images", 2)
    with pytest.raises(InputError, match=message):
        read_csv(tmp_path / "images", write_scores(tmp_path / "scores.csv", rows), **options)


def test_missing_and_empty_places_are_refused(tmp_path, rated_folder):
    folder, scores = rated_folder(3)
    (tmp_path / "empty").mkdir()
    (tmp_path / "header.csv").write_text("image,mos\n")
    (tmp_path / "short.csv").write_text("image,mos\nimage00.png\n")
    (tmp_path / "commas.csv").write_text("image,mos\nimage00.png,3,57\n")
    (tmp_path / "twice.csv").write_text("image,mos,mos\nimage00.png,3,4\n")
    (tmp_path / "quote.csv").write_text('image,mos\n"image00.png,3\n' + 200_000 * "x")
    (tmp_path / "long.csv").write_text(f"image,mos\n{300 * 'x'}.png,3\n")
    (tmp_path / "null.csv").write_text("image,mos\na\0.png,3\n")
    (tmp_path / "latin.csv").write_bytes("image,mos\ncafé.png,1\n".encode("latin-1"))
    for arguments, message in [
        ((tmp_path / "nowhere", scores), "images=.*nowhere: expected a folder of images, found nothing there"),
        ((scores, scores), "images=.*scores.csv: expected a folder of images, found a file"),
        ((tmp_path / "empty", scores), "images=.*empty: the folder holds no image"),
        ((folder, tmp_path / "nowhere.csv"), "scores=.*nowhere.csv: expected a CSV file, found nothing there"),
        ((folder, folder), "scores=.*: expected a CSV file, found a folder"),
        ((folder, tmp_path / "header.csv"), "expected one row per image below the header, found none"),
        ((folder, tmp_path / "short.csv"), "line 2: expected 2 fields, found fewer"),
        ((folder, tmp_path / "commas.csv"), "line 2: expected 2 fields, found more"),
        ((folder, tmp_path / "twice.csv"), "expected one column 'mos', found image, mos, mos"),
        ((folder, tmp_path / "quote.csv"), "quote.csv, line .*: expected rows of a CSV file"),
        ((folder, tmp_path / "long.csv"), "long.csv, line 2: expected the name of a file"),
        ((folder, tmp_path / "null.csv"), "null.csv, line 2: expected text, found a zero byte"),
        ((folder, tmp_path / "latin.csv"), "expected text in UTF-8"),
    ]:
        with pytest.raises(InputError, match=message):
            read_csv(*arguments)


def test_the_real_subset_reads_as_published(shared):
    folder = shared / "data" / "biq2021_dev"
    collection = read_csv(folder / "images", folder / "scores.csv", Columns(split_column="split"), score_range=(0, 1))
    splits = [image.split for image in collection.images()]
    assert (collection.size, splits.count("train"), splits.count("test")) == (3400, 2900, 500)
