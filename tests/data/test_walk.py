"""One walk of a folder: all images in it, whatever they are called, and a word about all that is left out."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glintiqa_jax.data.images import decode_image, encode_png
from glintiqa_jax.data.walk import ImageStream, find_images
from glintiqa_jax.errors import InputError

RGB = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
FORMATS = (
    "bmp",
    "dds",
    "dib",
    "gif",
    "ico",
    "icns",
    "jp2",
    "jpg",
    "pcx",
    "png",
    "ppm",
    "sgi",
    "tga",
    "tif",
)


def below(folder, found) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found]


def test_folders_are_searched_in_order(tmp_path):
    for name in ("b/image00.png", "b/image01.png", "a/deep/image00.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encode_png(RGB))
    found = find_images([tmp_path / "b" / "image01.png", tmp_path])
    assert below(tmp_path, found.images) == ["b/image01.png", "a/deep/image00.png", "b/image00.png", "b/image01.png"]
    assert found.note() is None
    with pytest.raises(InputError, match="found nothing there"):
        find_images([tmp_path / "c"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: expected images in this folder .* found none"):
        find_images([tmp_path / "empty"])


def test_every_format_is_an_image_and_decodes(tmp_path):
    for ending in FORMATS:
        Image.fromarray(RGB).save(tmp_path / f"image.{ending}")
    Image.fromarray(RGB).save(tmp_path / "no_ending", "JPEG")
    Image.fromarray(RGB).save(tmp_path / "wrong.txt", "PNG")
    (tmp_path / "IMAGE.JPG").write_bytes(encode_png(RGB))
    found = find_images([tmp_path])
    assert len(found.images) == len(FORMATS) + 3
    assert found.note() is None
    for path in found.images:
        assert decode_image(path.read_bytes(), str(path)).shape[2] == 3


def test_what_is_left_out_is_counted_with_its_reason(tmp_path):
    (tmp_path / "good.png").write_bytes(encode_png(RGB))
    (tmp_path / "damaged.jpg").write_bytes(b"which is heard of when it is decoded")
    for name in ("notes.txt", "scores.csv", "page.pdf", "photo.nef", "Makefile"):
        (tmp_path / name).write_text("BM P6 #define x_width 1")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round.png").symlink_to(tmp_path / "round.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = find_images([tmp_path])
    assert below(tmp_path, found.images) == ["damaged.jpg", "good.png"]
    note = found.note()
    assert note.startswith("8 left out, ")
    for part in (
        "no image: 4 (Makefile, notes.txt, page.pdf, ...)",
        "camera raw, to be developed first: 1 (photo.nef)",
        "link to nothing: 2 (gone.png, round.png)",
        "no regular file: 1 (pipe.png)",
    ):
        assert part in note
    assert "\n" not in note


def test_hidden_and_system_files_are_neither_found_nor_counted(tmp_path):
    (tmp_path / "good.png").write_bytes(encode_png(RGB))
    for name in (
        "._good.png",
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "__MACOSX/._x.png",
        "@eaDir/a.png",
        ".git/b.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode_png(RGB))
    found = find_images([tmp_path])
    assert below(tmp_path, found.images) == ["good.png"]
    assert found.note() is None
    assert find_images([tmp_path / "._good.png"]).images == [tmp_path / "._good.png"]  # as it was named


def test_linked_folders_are_followed_once(tmp_path):
    for name in ("root/real/a.png", "elsewhere/b.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(encode_png(RGB))
    root = tmp_path / "root"
    (root / "again").symlink_to(root / "real")
    (root / "outside").symlink_to(tmp_path / "elsewhere")
    (root / "outside_too").symlink_to(tmp_path / "elsewhere")
    (root / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    found = find_images([root])
    assert below(root, found.images) == ["outside/b.png", "real/a.png"]
    assert found.note() == "1 left out, link to a folder that holds it: 1 (up)"
    assert find_images([root / "outside"]).images == [root / "outside" / "b.png", root / "outside/back/real/a.png"]


def test_a_folder_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    (tmp_path / "good.png").write_bytes(encode_png(RGB))
    (tmp_path / "private").mkdir()
    scandir = os.scandir

    def refusing(path):
        if path == tmp_path / "private":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert find_images([tmp_path]).note() == "1 left out, folder that cannot be read: 1 (private)"


def test_names_that_are_no_text_are_shown(tmp_path):
    place = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    try:
        Path(os.fsdecode(place)).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    (tmp_path / "good.png").write_bytes(encode_png(RGB))
    assert find_images([tmp_path]).note() == r"1 left out, no image: 1 (caf\xe9.txt)"


def test_images_of_several_pages_and_of_no_magic_are_told_by_their_ending(tmp_path):
    content = io.BytesIO()
    Image.fromarray(RGB).save(content, "TGA")
    (tmp_path / "image.tga").write_bytes(content.getvalue())
    (tmp_path / "image.bin").write_bytes(content.getvalue())
    assert below(tmp_path, find_images([tmp_path]).images) == ["image.tga"]


def test_a_stream_has_the_same_images_in_the_same_order(tmp_path):
    for name in ("b/image01.png", "b/image00.png", "a/deep/image00.png", "a.png", "c/again.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encode_png(RGB))
    (tmp_path / "notes.txt").write_text("no image")
    stream = ImageStream([tmp_path])
    assert [(path, "") for path in find_images([tmp_path]).images] == list(stream) == list(stream)
    assert stream.left_out == 1


def test_in_a_stream_what_is_no_image_has_a_reason(tmp_path):
    """One bad path is told as such, and the others are there."""
    (tmp_path / "good.png").write_bytes(encode_png(RGB))
    (tmp_path / "shot.nef").write_bytes(b"raw")
    (tmp_path / "broken.jpg").write_bytes(b"")  # which decoding will say
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "[1].png").write_bytes(encode_png(RGB))
    paths = [
        tmp_path,
        tmp_path / "nothing.png",
        tmp_path / "empty",
        f"{tmp_path}/*.gif",
        f"{tmp_path}/g*.png",
        "",
        "a\0b",
    ]
    found = [(path.name, reason) for path, reason in ImageStream([*paths, f"{tmp_path}/[1].png"])]
    assert found == [
        ("[1].png", ""),
        ("broken.jpg", ""),
        ("gone.png", "link to nothing"),
        ("good.png", ""),
        ("shot.nef", "camera raw, to be developed first"),
        ("nothing.png", "nothing there"),
        ("empty", "no images in this folder"),
        ("*.gif", "nothing matches"),
        ("gone.png", "nothing there"),
        ("good.png", ""),
        ("", "an empty path"),
        ("a\0b", "embedded null byte"),
        ("[1].png", ""),
    ]
