"""One spelling of a name, whatever system wrote it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glintiqa_jax.data.names import OutsideError, normal_name

parts = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp", "Cf"], exclude_characters="/\\:"), min_size=1
)
paths = st.lists(parts.filter(lambda part: part not in (".", "..")), min_size=1, max_size=4)


@given(paths, st.sampled_from(["/", "\\", "//", "/./", "/x/../"]), st.sampled_from(["NFC", "NFD"]), st.booleans())
def test_all_spellings_are_one(path, slash, form, absolute):
    expected = unicodedata.normalize("NFC", "/".join(path))
    spelled = unicodedata.normalize(form, slash.join(path))
    assert normal_name(f" ./{spelled}\u00a0\r\n") == expected
    assert normal_name(expected) == expected
    assert normal_name(f"/data/images/{spelled}" if absolute else spelled, "/data/images") == expected


@pytest.mark.parametrize("name", ["", " \t\u00a0", ".", "./", "a/..", "\ufeff", "a\0.png"])
def test_what_names_nothing_is_refused(name):
    with pytest.raises(ValueError, match="expected"):
        normal_name(name)


@pytest.mark.parametrize(
    "name", ["../a", "..\\a", "a/../../b", "/etc/passwd", "C:\\a.png", "//server/a", "/data/images2/a"]
)
def test_what_leaves_the_folder_is_refused(name):
    with pytest.raises(OutsideError, match="outside the folder /data/images"):
        normal_name(name, "/data/images")
