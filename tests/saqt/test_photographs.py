"""Photographs to be distorted are looked at first: what cannot be used is named before any long work."""

import numpy as np
import pytest
from PIL import Image
from pristine import write_photographs

from glintiqa_jax.data.images import BadImageError
from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt.generation import Recipe
from glintiqa_jax.saqt.photographs import find_photographs


def test_photographs_are_found_in_order_and_keep_their_folders(tmp_path):
    write_photographs(tmp_path, ["b/x", "a", "b/w"])
    (tmp_path / ".a.png").write_bytes(b"left by a system")
    found, left_out = find_photographs(tmp_path, Recipe())
    assert [photograph.name for photograph in found] == ["a", "b/w", "b/x"]
    assert [photograph.group for photograph in found] == ["a", "b/w", "b/x"]
    assert left_out == []
    (tmp_path / "notes.txt").write_text("")
    assert "notes.txt" in find_photographs(tmp_path, Recipe())[1][0]


def test_a_photograph_is_its_pixels(tmp_path):
    """Saved anew without a loss it is the same, shrunk otherwise it is another."""
    write_photographs(tmp_path / "one", ["a"], side=64)
    (tmp_path / "other").mkdir()
    Image.open(tmp_path / "one" / "a.png").save(tmp_path / "other" / "a.bmp")
    ((one,), _), ((other,), _) = (find_photographs(tmp_path / folder, Recipe()) for folder in ("one", "other"))
    assert one.digest == other.digest
    ((shrunk,), _) = find_photographs(tmp_path / "one", Recipe(max_side=48))
    assert shrunk.digest != one.digest


def test_the_same_scene_twice_is_one_content(tmp_path):
    write_photographs(tmp_path, ["a", "b", "c"], side=64)
    Image.open(tmp_path / "b.png").resize((60, 60)).save(tmp_path / "z.jpg", quality=80)
    found, _ = find_photographs(tmp_path, Recipe())
    assert [photograph.group for photograph in found] == ["a", "b", "c", "b"]


def bad(folder, kind):
    colours = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    if kind == "broken":
        (folder / "x.png").write_bytes(b"no image")
    elif kind == "small":
        Image.fromarray(colours[:31]).save(folder / "x.png")
    elif kind == "grey":
        Image.fromarray(colours[..., 0]).save(folder / "x.png")
    elif kind == "narrow":
        Image.fromarray(np.tile(colours, (1, 20, 1))).save(folder / "x.png")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("broken", r"x\.png: not an image"),
        ("small", r"x\.png: expected at least 32 pixels a side, found 40x31"),
        ("grey", r"x\.png: expected a colour photograph, found a grey one"),
        ("narrow", r"x\.png: expected at least 32 .* found 512x26 with its longer side at most 512"),
    ],
)
def test_what_cannot_be_used_is_named_or_left_out(tmp_path, kind, message):
    write_photographs(tmp_path, ["good"])
    bad(tmp_path, kind)
    with pytest.raises(BadImageError, match=message + ".*`on_bad_image='skip'`"):
        find_photographs(tmp_path, Recipe())
    found, left_out = find_photographs(tmp_path, Recipe(), on_bad_image="skip")
    assert [photograph.name for photograph in found] == ["good"]
    assert len(left_out) == 1
    (tmp_path / "good.png").unlink()
    with pytest.raises(InputError, match="none of 1 photographs can be used"):
        find_photographs(tmp_path, Recipe(), on_bad_image="skip")


@pytest.mark.parametrize(("first", "second"), [("a", "A"), ("e\u0301", "\u00e9"), ("a", "a")])
def test_two_files_of_one_name_are_refused(tmp_path, first, second):
    write_photographs(tmp_path, [first])
    Image.open(tmp_path / f"{first}.png").save(tmp_path / f"{second}.jpg")
    with pytest.raises(InputError, match=r"expected one file of a name, .* found .*\.(jpg and .*png|png and .*jpg)"):
        find_photographs(tmp_path, Recipe())


def test_a_folder_must_be_there(tmp_path):
    with pytest.raises(InputError, match=r"sources=.*nowhere: expected a folder of photographs"):
        find_photographs(tmp_path / "nowhere", Recipe())


@pytest.mark.parametrize(
    "names", [("town/square", "town"), ("Town/a/b", "town"), ("labels.csv",), ("x" * 250,), ("a\nb",)]
)
def test_names_that_folders_cannot_have_are_refused(tmp_path, names):
    write_photographs(tmp_path, names)
    with pytest.raises(InputError, match=r"a folder is named after each photograph, which cannot be for [^\n]*$"):
        find_photographs(tmp_path, Recipe())


@pytest.mark.parametrize("name", ["[x]", "a*b", "100%s", "h#a?b", "at 10\u202fAM", "{0}", "back\\slash", " x "])
def test_other_names_are_kept(tmp_path, name):
    write_photographs(tmp_path, [f"{name}/{name}"])
    ((photograph,), left_out) = find_photographs(tmp_path, Recipe())
    assert (photograph.name, left_out) == (f"{name}/{name}", [])


def test_photographs_are_reached_by_links(tmp_path):
    write_photographs(tmp_path / "elsewhere", ["b"])
    write_photographs(tmp_path / "here", ["a"])
    (tmp_path / "here" / "more").symlink_to(tmp_path / "elsewhere")
    assert [photograph.name for photograph in find_photographs(tmp_path / "here", Recipe())[0]] == ["a", "more/b"]
