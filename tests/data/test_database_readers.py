"""Small databases in their layouts as distributed: what is read, wherever a copy has put and named its files."""

import dataclasses
import math
from pathlib import Path

import databases
import numpy as np
import pytest
from databases import Row
from hypothesis import given
from hypothesis import strategies as st

from glintiqa_jax.data.database import Content, Database, Origin, Sample, own_contents
from glintiqa_jax.data.databases import DATABASES, read_database
from glintiqa_jax.data.rated_images import Collection, RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.tables import read_table
from glintiqa_jax.datasets.config import DataConfig

every_database = pytest.mark.parametrize("name", DATABASES)


def facts(images) -> list[list[str]]:
    """All that is said of images, but where they are."""
    return [image.facts for image in (images.images() if isinstance(images, Collection) else images)]


def sample(name: str, folder: Path) -> list[list[str]]:
    """A small copy of a database; what should be read of it."""
    return facts(databases.write_sample(name, folder))


def move_files(folder: Path, target: Path, rename) -> Path:
    """The files of a folder, each at ``target/rename(path)``."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        place = target / rename(path.relative_to(folder).as_posix())
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    return target


def test_a_new_database_is_one_row(tmp_path, monkeypatch):
    """What the common tests, the commands and the card need is in it."""
    row = Database(
        name="mine",
        title="My photographs",
        scale=ScoreScale(1, 10, lower_is_better=True, unit="DMOS"),
        content=Content(2, 2),
        origin=Origin("me, 2026", "https://example.org"),
        read=lambda folder: own_contents(read_table(folder.file("scores.csv"), ["file", "dmos"]), "file", "dmos"),
        sample=Sample(
            {"scores.csv": "dmos,file\n7.5,a.png\n1,b.png\n"},
            [RatedImage("a.png", Path("deep/a.png"), 7.5, "a.png"), RatedImage("b.png", Path("b.png"), 1.0, "b.png")],
        ),
    )
    monkeypatch.setitem(DATABASES, "mine", row)
    assert sample("mine", tmp_path) == facts(read_database("mine", tmp_path))
    assert read_database("mine", tmp_path).notes == ()
    assert DataConfig(dataset="mine").datasets == [("mine", 1.0)]


@every_database
def test_the_layout_as_distributed(tmp_path, name):
    expected = sample(name, tmp_path / "database")
    collection = read_database(name, tmp_path / "database")
    assert facts(collection) == expected  # scores to the last digit
    assert (collection.name, collection.size, collection.missing) == (name, len(expected), ())
    assert collection.scale == DATABASES[name].scale
    for image in collection.images():
        assert image.encoded() == databases.encoded(Path(image.name).suffix)
        assert image.image.name.lower() == image.name.rsplit("/")[-1].lower()


@every_database
@pytest.mark.parametrize("case", [str.upper, str.lower], ids=["upper case", "lower case"])
def test_case_and_nesting_do_not_matter(tmp_path, name, case):
    expected = sample(name, tmp_path / "database")
    copy = move_files(tmp_path / "database", tmp_path / "copy", lambda path: Path("release", "v 2.0", case(path)))
    assert facts(read_database(name, copy)) == expected


@every_database
def test_what_macos_leaves_in_archives_is_ignored(tmp_path, name):
    expected = sample(name, tmp_path)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        twin = tmp_path / "__MACOSX" / path.relative_to(tmp_path)
        twin.parent.mkdir(parents=True, exist_ok=True)
        for shadow in (path.with_name(f"._{path.name}"), twin, twin.with_name(f"._{path.name}")):
            shadow.write_bytes(b"\0\5\x16\7")
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert facts(read_database(name, tmp_path)) == expected


@every_database
def test_other_counts_than_the_published_are_noted(tmp_path, name):
    expected = sample(name, tmp_path)
    row = DATABASES[name]
    groups = len({image.group for image in row.sample.images})
    notes = read_database(name, tmp_path).notes
    if name == "saqt":  # no published number: whoever generates the images decides
        assert notes == ()
    else:
        assert notes == (
            f"warning: {row.title} has {row.content.images:,} images as published, found {len(expected)}",
            f"warning: {row.title} has {row.content.groups:,} content groups as published, found {groups}",
        )


def test_the_fingerprint_follows_scores_and_not_places(tmp_path):
    databases.write_sample("kadid10k", tmp_path)
    before = read_database("kadid10k", tmp_path).identity
    assert read_database("kadid10k", tmp_path).identity == before
    table = tmp_path / "dmos.csv"
    text = table.read_text()
    table.write_text(text.replace("4.57", "4.58"))
    assert read_database("kadid10k", tmp_path).identity != before
    table.write_text(text)
    assert read_database("kadid10k", tmp_path).identity == before
    assert tmp_path / "images" / "I01_01_01.png" in read_database("kadid10k", tmp_path).sources


def test_live_leaves_undistorted_originals_out(tmp_path):
    databases.write_sample("live", tmp_path)
    names = [image.name for image in read_database("live", tmp_path).images()]
    assert "jp2k/img1.bmp" not in names
    assert (tmp_path / "jp2k" / "img1.bmp").is_file()


def test_both_tables_of_csiq_name_and_score_the_same_images(tmp_path):
    rows = [Row(f"{image}.{kind}.2.png", 0.25) for image in ("1600", "woman") for kind in databases.CSIQ_TYPES]
    databases.csiq(tmp_path / "sheet", rows)
    databases.csiq_list(tmp_path / "list", rows)
    sheet, text = (read_database("csiq", tmp_path / folder) for folder in ("sheet", "list"))
    assert [image.name for image in text.images()] == [row.name for row in rows]
    assert [image.name for image in sheet.images()] == [row.name for row in rows]
    without = [dataclasses.replace(image, score_std=math.nan) for image in sheet.images()]
    assert facts(without) == facts(text)
    assert {image.score_std for image in sheet.images()} == {0.5}


def test_the_column_var_of_kadid_holds_standard_deviations(tmp_path):
    # The first row of the distributed dmos.csv is "I01_01_01.png,I01.png,4.57,0.496". Of 30 ratings with this mean, 17
    # are 5 and 13 are 4 (mean 4.567): their standard deviation is 0.4955 and their variance 0.2456.
    databases.kadid10k(tmp_path, [Row("I01_01_01.png", 4.57, 0.496, "I01.png")])
    (image,) = read_database("kadid10k", tmp_path).images()
    assert image.score_std == pytest.approx(0.496)


def test_kadid_without_its_column_var(tmp_path):
    databases.write_sample("kadid10k", tmp_path)
    (tmp_path / "dmos.csv").write_text("dist_img,ref_img,dmos\nI01_01_01.png,I01.png,4.57\n")
    (image,) = read_database("kadid10k", tmp_path).images()
    assert math.isnan(image.score_std)


def test_koniq_without_sets_has_the_same_scores(tmp_path):
    rows = [Row("1.jpg", 77.3836206897, 0.527277894494, split="training"), Row("2.jpg", 3.5, 0.25, split="test")]
    databases.koniq10k_scores(tmp_path / "scores", rows)
    databases.koniq10k(tmp_path / "sets", rows)
    without, with_sets = (read_database("koniq10k", tmp_path / folder).images() for folder in ("scores", "sets"))
    assert facts(list(without)) == facts([dataclasses.replace(image, split="") for image in with_sets])


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [(["1024x768", "512x384"], "1024x768"), (["512x384"], "512x384"), (["."], "."), (["deep/512x384"], "deep/512x384")],
)
def test_koniq_takes_the_larger_images_that_are_there(tmp_path, sizes, taken):
    rows = [Row("1.jpg", 77.3836206897, 0.527277894494, split="training"), Row("2.jpg", 3.5, 0.25, split="test")]
    databases.koniq10k(tmp_path / "made", rows)
    copy = tmp_path / "copy"
    copy.mkdir()
    (tmp_path / "made" / "koniq10k_distributions_sets.csv").rename(copy / "koniq10k_distributions_sets.csv")
    for size in sizes:
        databases.write_stand_ins(copy / size, [row.name for row in rows])
    images = read_database("koniq10k", copy).images()
    assert [image.image for image in images] == [copy / taken / row.name for row in rows]


@pytest.mark.parametrize("spelling", ["Part 1", "Part_1", "PART 1"])
def test_livemd_parts_are_found_however_they_are_spelled(tmp_path, spelling):
    expected = sample("livemd", tmp_path)
    for part in ("1", "2"):
        (tmp_path / f"Part {part}").rename(tmp_path / spelling.replace("1", part))
    assert facts(read_database("livemd", tmp_path)) == expected


def test_saqt_takes_the_only_csv_and_the_short_columns(tmp_path):
    expected = sample("saqt", tmp_path)
    (tmp_path / "labels.csv").rename(tmp_path / "released_labels.csv")
    assert facts(read_database("saqt", tmp_path)) == expected
    (tmp_path / "released_labels.csv").write_text("dist_img,label\nbeach_01_03.png,4.25\nold_town_25_05.png,1.5\n")
    assert facts(read_database("saqt", tmp_path)) == facts(
        [
            RatedImage("beach_01_03.png", b"", 4.25, "beach", distortion_type=1, distortion_level=3),
            RatedImage("old_town_25_05.png", b"", 1.5, "old_town", distortion_type=25, distortion_level=5),
        ]
    )


CSV_TABLES = {
    name: next(file for file in row.sample.tables if file.endswith(".csv"))
    for name, row in DATABASES.items()
    if any(file.endswith(".csv") for file in row.sample.tables)
}


@pytest.mark.parametrize("name", CSV_TABLES)
@pytest.mark.parametrize("dialect", ["byte-order mark", "semicolons", "tabs", "decimal commas", "empty rows", "CRLF"])
def test_the_dialects_of_the_world(tmp_path, name, dialect):
    expected = sample(name, tmp_path)
    table = tmp_path / CSV_TABLES[name]
    header, *rows = databases.read_table(table)
    if dialect == "decimal commas":
        rows = [[databases.with_decimal_comma(field) for field in row] for row in rows]
    if dialect == "empty rows":
        rows = [row for pair in rows for row in ([""] * len(header), pair, [" "] * len(header))]
    delimiter = {"semicolons": ";", "decimal commas": ";", "tabs": "\t"}.get(dialect, ",")
    ending = "\r\n" if dialect == "CRLF" else "\n"
    databases.write_table(table, header, rows, delimiter=delimiter, lineterminator=ending)
    if dialect == "byte-order mark":
        table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert facts(read_database(name, tmp_path)) == expected


@given(
    st.sampled_from(sorted(DATABASES)),
    st.lists(st.floats(0, 1), min_size=1),
)
def test_scores_survive_the_way_to_quality_and_back(name, shares):
    scale = DATABASES[name].scale
    raw = np.sort(np.minimum(scale.low + (scale.high - scale.low) * np.asarray(shares), scale.high))
    quality = scale.to_quality(raw)
    np.testing.assert_allclose(scale.to_raw(quality), raw, rtol=0, atol=1e-12 * max(abs(scale.low), abs(scale.high)))
    assert (np.diff(quality) <= 0).all() if scale.lower_is_better else (np.diff(quality) >= 0).all()
    assert quality.min() >= -1e-12
    assert quality.max() <= 1 + 1e-12
