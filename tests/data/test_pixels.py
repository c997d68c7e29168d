"""One file of each kind, made here: what becomes of its pixels, and that the same in memory becomes the same."""

import io
import re
import struct
import sys
import warnings
import zlib

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, TiffImagePlugin

from glintiqa_jax.data.images import BadImageError, decode_image
from glintiqa_jax.data.pixels import to_pixels

GREY = np.add.outer(np.arange(24) * 5, np.arange(32) * 4).astype(np.uint8)
RGB = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
GREY3 = np.dstack([GREY] * 3)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png[:33] + chunk + png[33:]


def profile(gamma: float, primaries=()) -> bytes:
    """An ICC profile: grey, or RGB of three primaries in XYZ, with a curve that is a power."""
    fixed = lambda values: b"".join(struct.pack(">i", round(value * 65536)) for value in values)  # noqa: E731
    white = (0.9642, 1.0, 0.8249)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + fixed(white),
    }
    if primaries:
        for letter, colour in zip(b"rgb", primaries, strict=True):
            tags[bytes([letter]) + b"XYZ"] = b"XYZ \0\0\0\0" + fixed(colour)
            tags[bytes([letter]) + b"TRC"] = curve
    else:
        tags[b"kTRC"] = curve
    table, data, start = b"", b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    body = struct.pack(">I", len(tags)) + table + data
    space = b"RGB " if primaries else b"GRAY"
    head = struct.pack(
        ">I4sI4s4s4s12s4s", 128 + len(body), bytes(4), 0x02100000, b"mntr", space, b"XYZ ", bytes(12), b"acsp"
    )
    return (head + bytes(28) + fixed(white)).ljust(128, b"\0") + body


P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.profileToProfile(
    Image.fromarray(RGB), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
)
CLEAR = Image.fromarray(np.dstack([RGB, np.where(GREY > 90, 255, 0).astype(np.uint8)]))
ON_WHITE = np.where(GREY[..., None] > 90, RGB, 255)
CLEAR_PALETTE = CLEAR.quantize(64).convert("RGBA")
ON_WHITE_PALETTE = np.asarray(
    Image.alpha_composite(Image.new("RGBA", CLEAR.size, "white"), CLEAR_PALETTE).convert("RGB")
)
PALETTE = Image.fromarray(RGB).quantize(16)


@pytest.mark.parametrize(
    ("image", "kind", "expected", "tolerance"),
    [
        (Image.fromarray(RGB), "PNG", RGB, 0),
        (Image.fromarray(RGB), "BMP", RGB, 0),
        (Image.fromarray(GREY), "JPEG2000", GREY3, 0),
        (Image.fromarray(GREY > 100), "PNG", np.where(GREY3 > 100, 255, 0), 0),
        (PALETTE, "GIF", np.asarray(PALETTE.convert("RGB")), 0),
        (Image.fromarray(np.dstack([GREY, np.full_like(GREY, 255)])), "PNG", GREY3, 0),
        (CLEAR, "PNG", ON_WHITE, 0),
        (CLEAR, "TIFF", ON_WHITE, 0),
        (CLEAR.quantize(64), "PNG", ON_WHITE_PALETTE, 0),
        (Image.fromarray(GREY.astype(np.uint16) * 257), "PNG", GREY3, 0),
        (Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF", GREY3, 0),
        (Image.fromarray(GREY.astype(np.uint16) * 257), "PPM", GREY3, 0),
        (Image.fromarray(GREY.astype(np.int32)), "TIFF", GREY3, 0),
        (Image.fromarray(GREY.astype(np.int32) * 256), "TIFF", GREY3, 0),
        (Image.fromarray(GREY / np.float32(255)), "TIFF", GREY3, 0),
        (Image.fromarray(GREY.astype(np.float32)), "TIFF", GREY3, 0),
        (Image.fromarray(GREY / np.float32(255) * 1.04), "TIFF", np.rint(GREY3 * 1.04), 1),
        (Image.fromarray(RGB).convert("CMYK"), "TIFF", RGB, 1),
        (Image.fromarray(RGB).convert("CMYK"), "JPEG", RGB, 25),
        (LAB, "TIFF", RGB, 18),
    ],
)  # fmt: skip
def test_each_kind_of_image_as_a_viewer_shows_it(image, kind, expected, tolerance):
    np.testing.assert_allclose(decode_image(encoded(image, kind), "x"), expected, atol=tolerance)
    np.testing.assert_allclose(to_pixels(image), expected, atol=tolerance)


def sixteen_bit_rgb() -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in RGB.reshape(24, 96) * np.uint16(257))
    header = encoded(Image.fromarray(RGB), "PNG")[:33].replace(b"\x08\x02\0\0\0", b"\x10\x02\0\0\0")
    header = header[:29] + struct.pack(">I", zlib.crc32(header[12:29]))
    return with_chunk(header + b"\0\0\0\0IEND\xaeB`\x82", b"IDAT", zlib.compress(rows))


def test_sixteen_bits_in_colour_and_big_endian():
    np.testing.assert_array_equal(decode_image(sixteen_bit_rgb(), "x"), RGB)
    swapped = Image.fromarray((GREY.astype(np.uint16) * 257).astype(">u2"))
    np.testing.assert_array_equal(decode_image(encoded(swapped, "TIFF"), "x"), GREY3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_where_white_is_zero_samples_of_any_kind_are_inverted(dtype):
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    content = bytearray(encoded(Image.fromarray((GREY.astype(float) * scale).astype(dtype)), "TIFF"))
    content[content.index(struct.pack("<HHI", 262, 3, 1)) + 8] = 0  # WhiteIsZero
    np.testing.assert_array_equal(decode_image(bytes(content), "x"), 255 - GREY3)
    np.testing.assert_array_equal(to_pixels(Image.open(io.BytesIO(content))), 255 - GREY3)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.where(GREY == 0, np.nan, GREY / 255), r"1 of its 768 samples are not finite"),
        (np.where(GREY == 0, np.inf, GREY / 255), r"1 of its 768 samples are not finite"),
        (GREY / 127.5 - 1, r"expected floats in 0\.\.1 or in 0\.\.255, found -1 to"),
        (GREY / 50, r"expected floats in 0\.\.1 or in 0\.\.255, found 0 to 4"),
        (GREY * 257.0, r"expected floats"),
        (GREY.astype(np.int32) - 1, r"expected samples of 8 bits"),
        (GREY.astype(np.int32) * 1000, r"expected samples of 8 bits"),
        (GREY.astype(np.uint16), "expected 16-bit samples, found 0 to 239, which are black or were meant as 8 bits"),
    ],
)
def test_samples_that_mean_no_brightness_are_refused(samples, message):
    content = encoded(Image.fromarray(samples.astype(np.float32) if samples.dtype == float else samples), "TIFF")
    with pytest.raises(BadImageError, match=rf"^holiday\.tif: .*{message}"):
        decode_image(content, "holiday.tif")
    with pytest.raises(BadImageError, match=rf"^holiday: .*{message}"):
        to_pixels(samples, "holiday")


def test_profiles_are_brought_to_srgb():
    red = Image.new("RGB", (4, 4), (200, 50, 50))
    for kind in ("PNG", "JPEG", "TIFF", "WEBP"):
        shown = decode_image(encoded(red, kind, icc_profile=profile(2.2, P3), quality=100), "x")[0, 0]
        np.testing.assert_allclose(shown, (219, 14, 35), atol=4)
    shown = decode_image(encoded(red.convert("RGBA"), "PNG", icc_profile=profile(2.2, P3)), "x")[0, 0]
    np.testing.assert_array_equal(shown, (219, 14, 35))
    linear = decode_image(encoded(Image.new("L", (4, 4), 50), "PNG", icc_profile=profile(1.0)), "x")
    np.testing.assert_allclose(linear, 255 * (1.055 * (50 / 255) ** (1 / 2.4) - 0.055), atol=1)
    np.testing.assert_array_equal(
        to_pixels(Image.open(io.BytesIO(encoded(red, "PNG", icc_profile=profile(2.2, P3))))), [[(219, 14, 35)] * 4] * 4
    )


@pytest.mark.parametrize("icc", [SRGB, SRGB[:200], b"x" * 300, profile(2.2)], ids=["sRGB", "short", "noise", "grey"])
def test_profiles_of_srgb_and_such_as_do_not_work_leave_the_pixels_alone(icc):
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(RGB), "PNG", icc_profile=icc), "x"), RGB)


def test_the_gamma_of_a_png_is_applied_where_it_alone_says_what_the_samples_mean():
    plain = encoded(Image.fromarray(GREY), "PNG")

    def shown(gamma: int, png: bytes = plain) -> np.ndarray:
        return decode_image(with_chunk(png, b"gAMA", struct.pack(">I", gamma)), "x")

    light = GREY3 / 255.0
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    np.testing.assert_allclose(shown(100_000), expected, atol=0.51)
    for same in (45_455, 45_000, 0):
        np.testing.assert_array_equal(shown(same), GREY3)
    np.testing.assert_array_equal(shown(100_000, with_chunk(plain, b"sRGB", b"\0")), GREY3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_every_orientation_is_undone(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {
        1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1], 5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1), 7: RGB[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(RGB),
    }[orientation]  # fmt: skip
    content = encoded(Image.fromarray(RGB), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(decode_image(content, "x"), turned)


def test_a_good_image_is_not_refused_for_its_metadata():
    """Large or broken texts, profiles and EXIF; a wrong ending."""
    png = encoded(Image.fromarray(RGB), "PNG")
    large = zlib.compress(bytes(3_000_000))
    for content in (
        with_chunk(png, b"zTXt", b"a\0\0" + large),
        with_chunk(png, b"iTXt", b"a\0\1\0\0\0" + large),
        with_chunk(png, b"tEXt", b"broken"),
        with_chunk(png, b"iCCP", b"a\0\0" + large),
        with_chunk(png, b"iCCP", b"a\0\0broken"),
        with_chunk(png, b"eXIf", b"broken"),
        with_chunk(png, b"eXIf", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
        png[:-12],
    ):
        np.testing.assert_array_equal(decode_image(content, "holiday.jpg"), RGB)
    red = encoded(Image.new("RGB", (4, 4), (200, 50, 50)), "PNG")
    large = zlib.compress(profile(2.2, P3) + bytes(3_000_000))
    shown = decode_image(with_chunk(red, b"iCCP", b"a\0\0" + large), "x")
    np.testing.assert_array_equal(shown[0, 0], (219, 14, 35))
    jpeg = encoded(Image.fromarray(RGB), "JPEG")
    expected = decode_image(jpeg, "x")
    for segment in (
        b"\xff\xe1\0\x10Exif\0\0MM\0*\0\0\0\xff",
        b"\xff\xe2\0\x10MPF\0MM\0*\0\0\0\xff\0\0",
        b"\xff\xed\0\x06\0\0\0\0",
    ):
        np.testing.assert_array_equal(decode_image(jpeg[:2] + segment + jpeg[2:], "x.png"), expected)


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 0}],
    ids=lambda o: "".join(o) or "plain",
)
def test_a_jpeg_without_its_end_is_whole_and_one_without_its_half_is_not(options):
    content = encoded(Image.fromarray(RGB).resize((320, 240)), "JPEG", **options)
    whole = decode_image(content, "x")
    for cut in (1, 2):
        np.testing.assert_array_equal(decode_image(content[:-cut], "x"), whole)
    assert np.abs(decode_image(content[:-6], "x").astype(int) - whole).mean() < 1
    half = content[: len(content) * 6 // 10]
    for damaged in (content[: len(content) * 9 // 10], half, half + bytes(len(content) - len(half)), half + b"\xff"):
        with pytest.raises(BadImageError, match=r"holiday\.jpg"):
            decode_image(damaged, "holiday.jpg")


def test_the_limit_of_pixels_is_ours(monkeypatch):
    kinds: dict[str, dict] = {"PNG": {}, "WEBP": {"quality": 1}, "TIFF": {}}
    content = {kind: encoded(Image.new("L", (3000, 2000)), kind, **more) for kind, more in kinds.items()}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)  # beyond twice which Pillow calls it an attack
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind, one in content.items():
            assert decode_image(one, kind).shape == (2000, 3000, 3)
            assert Image.MAX_IMAGE_PIXELS == 1_000_000
            with pytest.raises(
                BadImageError, match=r"x: expected at most 5,000,000 pixels \(max_pixels\), found 3,000x2"
            ):
                decode_image(one, "x", max_pixels=5_000_000)


def test_warnings_are_the_users_own_again_afterwards():
    before = list(warnings.filters)
    decode_image(encoded(Image.fromarray(RGB), "PNG"), "x")
    with pytest.raises(BadImageError):
        decode_image(b"P6 1", "x")
    assert list(warnings.filters) == before


def test_what_holds_a_preview_alone_is_refused():
    for tag, value in ((254, 1), (50706, b"\1\4\0\0")):
        info = TiffImagePlugin.ImageFileDirectory_v2()
        info[tag] = value
        with pytest.raises(BadImageError, match=r"x\.tif: camera raw"):
            decode_image(encoded(Image.fromarray(RGB), "TIFF", tiffinfo=info), "x.tif")


def test_heic_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(BadImageError, match=r"IMG_1\.HEIC: .*pip install pillow-heif"):
        decode_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "IMG_1.HEIC")


ARRAYS = {
    "grey": (GREY, GREY3),
    "one channel": (GREY[..., None], GREY3),
    "grey and alpha": (np.dstack([GREY, np.full_like(GREY, 255)]), GREY3),
    "alpha": (np.asarray(CLEAR), ON_WHITE),
    "view": (RGB[::-1, ::-1], RGB[::-1, ::-1]),
    "bool": (GREY > 100, np.where(GREY3 > 100, 255, 0)),
    "int64": (RGB.astype(np.int64), RGB),
    "uint16": (RGB.astype(np.uint16) * 257, RGB),
    "float64": (RGB / 255.0, RGB),
    "float32 to 255": (RGB.astype(np.float32), RGB),
    "list": (RGB.tolist(), RGB),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_become_what_files_do(name):
    given_, expected = ARRAYS[name]
    pixels = to_pixels(given_)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (24, 32, 3))
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_short_floats_are_floats(dtype):
    np.testing.assert_allclose(to_pixels((RGB / 255.0).astype(dtype)), RGB, atol=1)


def test_rows_may_be_arrays_and_alpha_multiplied_in():
    np.testing.assert_array_equal(to_pixels(list(RGB)), RGB)
    clear = Image.fromarray(np.dstack([GREY, np.full_like(GREY, 255)]))
    np.testing.assert_array_equal(to_pixels(clear.convert("La")), GREY3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (RGB.transpose(2, 0, 1), "channels come last"),
        (RGB[None], "a batch; give one image at a time"),
        (RGB[0, 0], r"expected \(height, width\)"),
        (np.zeros((0, 4, 3)), "which is empty"),
        (np.zeros((4, 4, 5)), r"found \(4, 4, 5\)"),
        ("photo.png", "expected an image of numbers"),
        (None, "expected an image of numbers"),
        (RGB * 1j, "expected an image of numbers"),
        ([[1, 2], [3]], "what makes no array"),
        ({"a": 1}, "expected an image of numbers"),
        (["a.png", "b.png"], "found a list of str; give one image at a time"),
        ((Image.fromarray(GREY), Image.fromarray(RGB)), "found a tuple of Image; give one image at a time"),
        (Image.new("RGB", (0, 9)), "found 0x9"),
    ],
)
def test_arrays_of_a_wrong_kind_are_refused(array, message):
    with pytest.raises(BadImageError, match=rf"^holiday: .*{message}"):
        to_pixels(array, "holiday")


def test_a_users_own_image_is_left_as_it_is():
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(encoded(Image.fromarray(RGB), "PNG", exif=exif))) as image:
        np.testing.assert_array_equal(to_pixels(image), np.rot90(RGB, -1))
        assert image.size == (32, 24)
        assert image.getexif()[0x0112] == 6


FILES = [
    encoded(Image.fromarray(RGB), kind, **({"icc_profile": SRGB} if kind in ("JPEG", "PNG") else {}))
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "PPM")
]


@settings(max_examples=120)
@given(st.sampled_from(FILES), st.data())
def test_damaged_files_decode_or_are_bad_images(content, data):
    damaged = bytearray(content)
    start = data.draw(st.integers(0, len(damaged) - 1))
    length = data.draw(st.sampled_from([0, 1, 4, 30]))
    damaged[start : start + length] = data.draw(st.binary(max_size=6))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    try:
        pixels = decode_image(bytes(damaged), "holiday", max_pixels=10**6)
    except BadImageError as error:
        assert re.match(r"holiday: (?!.*object at 0x)", str(error))  # noqa: PT017
    else:
        assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
