"""Every kind of image file becomes the same thing: RGB pixels as a viewer shows them."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from glintiqa_jax.data.images import (
    BadImageError,
    decode_image,
    encode_png,
    limit_short_side,
    limited_size,
)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def test_png_comes_back_exactly():
    np.testing.assert_array_equal(decode_image(encode_png(RGB), "x"), RGB)


def test_greyscale_has_three_equal_channels():
    pixels = decode_image(encoded(Image.fromarray(RGB[..., 0]), "PNG"), "x")
    np.testing.assert_array_equal(pixels, np.repeat(RGB[..., :1], 3, axis=-1))


def test_palette_is_looked_up():
    image = Image.fromarray(RGB).quantize(8)
    np.testing.assert_array_equal(decode_image(encoded(image, "PNG"), "x"), np.asarray(image.convert("RGB")))


def test_sixteen_bits_keep_their_high_byte():
    wide = np.arange(54, dtype=np.uint16).reshape(6, 9) * 1200
    pixels = decode_image(encoded(Image.fromarray(wide), "PNG"), "x")
    np.testing.assert_allclose(pixels[..., 0], wide / 256, atol=1)


def test_transparency_is_laid_on_white():
    half = np.dstack([np.zeros((6, 9, 3), np.uint8), np.full((6, 9), 128, np.uint8)])
    np.testing.assert_allclose(decode_image(encoded(Image.fromarray(half), "PNG"), "x"), 127, atol=1)


def test_cmyk_is_converted():
    red = Image.new("CMYK", (9, 6), (0, 255, 255, 0))
    pixels = decode_image(encoded(red, "TIFF"), "x")
    assert pixels.shape == (6, 9, 3)
    assert pixels[0, 0, 0] > 200 > 60 > pixels[0, 0, 1]


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    pixels = decode_image(encoded(Image.fromarray(RGB), "PNG", exif=exif), "x")
    np.testing.assert_array_equal(pixels, np.rot90(RGB, -1))


@pytest.mark.parametrize("content", [b"", b"not an image", encode_png(RGB)[:60]], ids=["empty", "text", "truncated"])
def test_what_does_not_decode_is_named(content):
    with pytest.raises(BadImageError, match=r"holiday\.png"):
        decode_image(content, "holiday.png")


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 60))
def test_short_side_is_limited_and_never_enlarged(height, width, limit):
    image = np.zeros((height, width, 3), np.uint8)
    shrunk = limit_short_side(image, limit)
    assert shrunk.shape[:2] == limited_size(height, width, limit)
    assert min(shrunk.shape[:2]) == (min(height, width, limit) if limit else min(height, width))
    assert shrunk.shape[0] <= height
    assert shrunk.shape[1] <= width


def test_of_several_pictures_in_a_file_the_first_is_taken():
    """As some phones write them: BIQ2021 has one such file, under the name of a JPEG."""
    flat = [Image.new("RGB", (16, 8), colour) for colour in ("red", "blue")]
    pixels = decode_image(encoded(flat[0], "MPO", save_all=True, append_images=flat[1:]), "x.jpg")
    assert pixels.shape == (8, 16, 3)
    assert pixels[0, 0, 0] > 240 > 20 > pixels[0, 0, 2]
