"""Files that every viewer shows in spite of a fault: a JPEG's missing end, unreadable metadata."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"sRGB", b"IDAT")  # what pixels are made of
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_LARGEST_PROFILE = 2**26  # bytes
_END = b"\xff\xd9"
_PADDING = bytes(16)
_MISSING = 0.01  # of a JPEG's pixels, up to which it counts as whole
_FEW = 320  # pixels, likewise: one unit of 16x16, in which a JPEG is usually coded, and its edges
_UNIT_BYTES = 512  # more than such a unit takes
_BYTES_PER_PIXEL = 2  # more than a JPEG needs, so that made-up data fill all that is missing


def mended(encoded: bytes, decode: Callable[..., np.ndarray]) -> np.ndarray | None:
    """The pixels of a file that did not decode as it is, or None if it is really damaged.

    Args:
      encoded: the file's bytes.
      decode: bytes, and what is to be added to Pillow's ``info``, to pixels ``(height, width, 3)``.
    """
    if encoded.startswith(b"\xff\xd8"):
        return _without_end(encoded, decode)
    if encoded.startswith(_PNG):
        return decode(*_bare_png(encoded))
    return None


def is_padded(encoded: bytes) -> bool:
    """Whether a JPEG ends in zeros, as a broken download does, which a decoder may take for data."""
    return encoded.startswith(b"\xff\xd8") and encoded.endswith(_PADDING) and not encoded.rstrip(b"\0").endswith(_END)


def _without_end(encoded: bytes, decode: Callable[..., np.ndarray]) -> np.ndarray | None:
    """A JPEG that stops before its end marker.

    A decoder makes the rest up, and hides how much that is. Whatever is made up changes when other data follow the
    last byte, and pixels that were there do not.
    """
    body = encoded.rstrip(b"\0").removesuffix(b"\xff")  # and half an end marker
    if not _has_all_scans(body):
        return None
    pixels = decode(body + _END)
    made_up = np.zeros(pixels.shape[:2], bool)
    length = pixels.shape[0] * pixels.shape[1] * _BYTES_PER_PIXEL
    for filler in _fillers(length, body.partition(b"\xff\xdd\0\x04")[2][:2]):
        made_up |= (decode(body + filler + _END) != pixels).any(axis=-1)
    return pixels if made_up.sum() <= max(_MISSING * made_up.size, _FEW) else None


def _fillers(length: int, restart_interval: bytes) -> Iterator[bytes]:
    noise = np.random.default_rng(0).integers(0, 255, length, np.uint8).tobytes()  # less 0xff, which begins a marker
    ones = b"\xff\0" * (length // 2)
    # each interval of data, counted in units, ends with one of eight markers, in turn
    size = _UNIT_BYTES * int.from_bytes(restart_interval, "big") or length
    for filler in (noise, ones):
        parts = (filler[at : at + size] + bytes([0xFF, 0xD0 + at // size % 8]) for at in range(0, length, size))
        yield filler if size == length else b"".join(parts)


def _has_all_scans(body: bytes) -> bool:
    """Whether a JPEG's scans give all coefficients of all components to their last bit, if the last scan is whole."""
    components: dict[int, set[int]] = {}
    place = 2
    while place + 4 <= len(body):
        if body[place] != 0xFF:
            place = body.find(b"\xff", place)
            if place < 0:
                break
            continue
        marker = body[place + 1]
        if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD9:
            place += 1 if marker == 0xFF else 2
            continue
        segment = body[place + 4 : place + 2 + int.from_bytes(body[place + 2 : place + 4], "big")]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(segment) > 5:
            components = {number: set() for number in segment[6::3][: segment[5]]}
        if marker == 0xDA and segment:
            count = segment[0]
            first, last, precision = segment[1 + 2 * count : 4 + 2 * count].ljust(3, b"\xff")
            for number in segment[1 : 1 + 2 * count : 2]:
                if precision & 0x0F == 0:
                    components.setdefault(number, set()).update(range(first, last + 1))
        place += 4 + len(segment)
    return bool(components) and all(set(range(64)) <= known for known in components.values())


def _bare_png(encoded: bytes) -> tuple[bytes, dict[str, bytes]]:
    """A PNG without the metadata that Pillow may refuse, and of those what changes how it looks."""
    kept, info, place = io.BytesIO(), {}, len(_PNG)
    kept.write(_PNG)
    while place + 12 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, place)
        data = encoded[place + 8 : place + 8 + length]
        place += 12 + length
        if place > len(encoded) or kind == b"IEND":
            break
        if kind in _PNG_CHUNKS:
            kept.write(encoded[place - 12 - length : place])
        elif kind == b"eXIf":
            info["exif"] = b"Exif\0\0" + data
        elif kind == b"iCCP":
            with contextlib.suppress(zlib.error):
                _, _, compressed = data.partition(b"\0")
                info["icc_profile"] = zlib.decompressobj().decompress(compressed[1:], _LARGEST_PROFILE)
    kept.write(_PNG_END)
    return kept.getvalue(), info
