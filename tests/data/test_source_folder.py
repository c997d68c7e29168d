"""Files are found by the end of their path."""

import pytest
from databases import write_stand_ins
from hypothesis import given
from hypothesis import strategies as st

from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.errors import InputError

# Unlike in a real table, a name is never a part of another: what is found is then known.
names = st.text("abcdefghij", min_size=1, max_size=6)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


def swap(text: str, choices: list[bool]) -> str:
    return "".join(char.upper() if choices[i % len(choices)] else char.lower() for i, char in enumerate(text))


@given(paths, st.lists(names, max_size=3), st.lists(st.booleans(), min_size=1), st.lists(st.booleans(), min_size=1))
def test_a_file_is_found_in_any_case_and_however_deep(tmp_path_factory, path, above, on_disk, asked):
    folder = tmp_path_factory.mktemp("source")
    place = swap("/".join([*above, f"{path}.png"]), on_disk)
    write_stand_ins(folder, [place])
    source = SourceFolder(folder)
    parts = f"{path}.png".split("/")
    for start in range(len(parts)):
        wanted = swap("/".join(parts[start:]), asked)
        assert source.find(wanted) == folder / place
        assert source.find(wanted.replace("/", "\\")) == folder / place  # as Windows writes paths
        assert source.find(f"{wanted}x") is None
        assert source.find(f"x{wanted}") is None  # whole names, not ends of them
    assert source.find(f"none/{place}") is None


def test_the_least_nested_file_is_taken(tmp_path):
    write_stand_ins(tmp_path, ["a/images/x.png", "images/x.png", "a/b/images/x.png", "a/b/c/x.png"])
    source = SourceFolder(tmp_path)
    assert source.find("x.png") == source.find("images/x.png") == tmp_path / "images" / "x.png"
    assert source.find("a/images/x.png") == tmp_path / "a" / "images" / "x.png"
    assert source.find("c/x.png") == tmp_path / "a" / "b" / "c" / "x.png"


def test_of_files_that_differ_in_case_alone_the_exact_one_is_taken(tmp_path):
    write_stand_ins(tmp_path, ["images/x.png", "images/X.png"])
    if len(list((tmp_path / "images").iterdir())) < 2:
        pytest.skip("this file system does not tell names by case")
    source = SourceFolder(tmp_path)
    assert source.find("x.png") == tmp_path / "images" / "x.png"
    assert source.find("images/X.png") == tmp_path / "images" / "X.png"
    with pytest.raises(InputError, match=r"expected one file x\.PNG, found images/X\.png, images/x\.png"):
        source.find("x.PNG")


def test_equally_deep_files_are_refused_with_their_names(tmp_path):
    write_stand_ins(tmp_path, ["a/x.png", "b/x.png"])
    source = SourceFolder(tmp_path)
    with pytest.raises(InputError, match=rf"source={tmp_path}: expected one file x\.png, found a/x\.png, b/x\.png"):
        source.find("x.png")
    assert source.find("b/x.png") == tmp_path / "b" / "x.png"


@pytest.mark.parametrize("name", ["", ".", "./"])
def test_no_name_is_no_file(tmp_path, name):
    write_stand_ins(tmp_path, ["x.png"])
    assert SourceFolder(tmp_path).find(name) is None


def test_files_beside_and_below_a_folder_are_not_inside_it(tmp_path):
    write_stand_ins(tmp_path, ["Labels/a.png", "labels.png", "b/LABELS/b.PNG", "labels/deep/c.png", "labels/d.bmp"])
    found = [path.relative_to(tmp_path).as_posix() for path in SourceFolder(tmp_path).inside("labels", ".png")]
    assert sorted(found) == ["Labels/a.png", "b/LABELS/b.PNG"]
