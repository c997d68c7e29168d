"""Names, links and doubles: what a database's files may be, and that nothing outside its folder is read."""

import re
from pathlib import Path

import databases
import pytest
from databases import Row

from glintiqa_jax.data.databases import read_database
from glintiqa_jax.errors import InputError

both_ways = pytest.mark.parametrize("on_bad_image", ["fail", "skip"])


def make_flive(folder: Path, names: list[str]) -> Path:
    """A database whose table has paths; only ``fine.jpg`` is there."""
    databases.write_table(folder / "labels_image.csv", ["name", "mos"], [(name, 50) for name in names])
    databases.write_stand_ins(folder / "database", ["fine.jpg"])
    return folder


@both_ways
@pytest.mark.parametrize(
    "outside", ["../x.jpg", "a/../../x.jpg", "..\\x.jpg", "/etc/hostname", "\\\\server\\x.jpg", "C:\\x.jpg", "c:/x.jpg"]
)
def test_names_that_leave_the_folder_are_refused(tmp_path, outside, on_bad_image):
    databases.write_stand_ins(tmp_path, ["x.jpg", "inside/x.jpg"])
    folder = make_flive(tmp_path / "inside", ["fine.jpg", outside])
    with pytest.raises(InputError, match=rf"^source={folder}: {re.escape(repr(outside))} points outside the folder"):
        read_database("flive", folder, on_bad_image=on_bad_image)


@pytest.mark.parametrize("name", ["clive", "koniq10k", "spaq"])
def test_absolute_names_are_refused_where_images_have_a_folder(tmp_path, name):
    databases.write_stand_ins(tmp_path, ["x.jpg"])
    outside = Row(str(tmp_path / "x.jpg"), 0.5, split="training")
    {"clive": databases.clive, "koniq10k": databases.koniq10k, "spaq": databases.spaq}[name](
        tmp_path / "inside", [outside]
    )
    with pytest.raises(InputError, match=r"x\.jpg' points outside the folder"):
        read_database(name, tmp_path / "inside")


def test_links_inside_the_folder_are_fine(tmp_path):
    databases.write_sample("kadid10k", tmp_path / "database")
    images = tmp_path / "database" / "images"
    (images / "I01_01_01.png").rename(tmp_path / "database" / "kept.png")
    (images / "I01_01_01.png").symlink_to("../kept.png")
    (tmp_path / "link").symlink_to(tmp_path / "database")
    for source in ("database", "link"):
        assert read_database("kadid10k", tmp_path / source).size == 2


@both_ways
def test_images_that_are_links_to_outside_are_refused(tmp_path, on_bad_image):
    databases.write_sample("kadid10k", tmp_path / "database")
    image = tmp_path / "database" / "images" / "I01_01_01.png"
    image.rename(tmp_path / "elsewhere.png")
    image.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(InputError, match=rf"{image} is a link that points outside the folder"):
        read_database("kadid10k", tmp_path / "database", on_bad_image=on_bad_image)


@pytest.mark.parametrize(
    ("name", "file"), [("kadid10k", "dmos.csv"), ("pipal", "Train_Label/A0001.txt"), ("saqt", "x.csv")]
)
def test_tables_that_are_links_to_outside_are_refused(tmp_path, name, file):
    folder = tmp_path / "database"
    databases.write_sample(name, folder)
    if name == "saqt":
        (folder / "labels.csv").rename(folder / file)  # the only CSV there is, under another name
    (folder / file).rename(tmp_path / "elsewhere.txt")
    (folder / file).symlink_to(tmp_path / "elsewhere.txt")
    with pytest.raises(InputError, match=rf"{folder / file} is a link that points outside the folder"):
        read_database(name, folder)


@pytest.mark.parametrize("target", ["gone.png", "I01_01_01.png"], ids=["no such file", "itself"])
def test_links_to_nothing_are_missing_images(tmp_path, target):
    databases.write_sample("kadid10k", tmp_path)
    image = tmp_path / "images" / "I01_01_01.png"
    image.unlink()
    image.symlink_to(image.with_name(target))
    with pytest.raises(InputError, match=r"1 of 2 scored images .*I01_01_01\.png"):
        read_database("kadid10k", tmp_path)


def test_two_images_that_answer_to_a_name_are_refused(tmp_path):
    databases.write_sample("kadid10k", tmp_path)
    databases.write_stand_ins(tmp_path / "copies", ["I01_01_01.png"])
    with pytest.raises(
        InputError, match=r"one file I01_01_01\.png, found copies/I01_01_01\.png, images/I01_01_01\.png"
    ):
        read_database("kadid10k", tmp_path)
