"""Images that show nearly the same, found by a perceptual hash and confirmed by their pixels.

Near are the same photograph saved again, scaled, brightened or slightly cropped, and photographs of one scene from one
place. The two limits were chosen by looking at pairs of BIQ2021: of 24 drawn from those that only just pass, all show
one scene.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from etils import epath

from glintiqa_jax.errors import InputError

_SIDE = 32  # pixels of the small grey picture from which everything is computed
_HASHED = 8  # its lowest frequencies that make the hash, per side
_HASH_BITS = 12  # hashes that differ in more of their 64 bits are not compared any further
_CORRELATION = 0.9  # of the small pictures, above which two images are near
_FLAT = float(_SIDE**2)  # product of two pictures' norms, up to which they are flat and their correlation is chance
_COMPARED = 4096  # pairs of pictures compared at a time: 64 MB
_BLOCK = 64  # hashes compared with all others at a time: with 40,000 of them, 20 MB


@dataclasses.dataclass(frozen=True)
class Look:
    """What is kept of an image for comparison with others.

    Attributes:
      digest: SHA-256 of the image file's bytes.
      bits: the perceptual hash, a 64-bit number: which of the 63 lowest frequencies are above their median.
      picture: uint8 ``(32, 32)``, the image in grey.
    """

    digest: str
    bits: int
    picture: np.ndarray

    @classmethod
    def of(cls, encoded: bytes, pixels: np.ndarray) -> Look:
        """The look of an image file's bytes and its decoded pixels, uint8 ``(height, width, 3)``."""
        import cv2  # half a second, which scoring does not need
        import scipy.fft

        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        picture = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        # (32, 32) -> (8, 8) -> (63,): the lowest frequencies, less the mean
        low = scipy.fft.dctn(picture.astype(np.float32), norm="ortho")[:_HASHED, :_HASHED].ravel()[1:]
        bits = int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")
        return cls(hashlib.sha256(encoded).hexdigest(), bits, picture)


def near_duplicates(looks: Sequence[Look], groups: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of positions, the first the smaller, of images of different groups that show nearly the same.

    Images of one group share their content anyway and are not compared. Byte-identical images are among the pairs.
    """
    if not looks:
        return []
    bits = np.asarray([one.bits for one in looks], np.uint64)
    pictures = np.stack([one.picture for one in looks])
    digests = np.unique([one.digest for one in looks], return_inverse=True)[1]
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1]
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(bits), _BLOCK):
        block = slice(start, start + _BLOCK)
        close = np.bitwise_count(bits[block, None] ^ bits[None, start:]) <= _HASH_BITS
        close &= numbers[block, None] != numbers[None, start:]
        first, second = (start + indices for indices in np.nonzero(np.triu(close, 1)))
        for some in range(0, len(first), _COMPARED):
            one, other = first[some : some + _COMPARED], second[some : some + _COMPARED]
            near = (digests[one] == digests[other]) | _alike(pictures, one, other)
            pairs += zip(one[near].tolist(), other[near].tolist(), strict=True)
    return pairs


def known_contents(known: Sequence[Look], looks: Sequence[Look], groups: Sequence[str]) -> np.ndarray:
    """Which images show a known content: those near to a known image, and their whole groups.

    Args:
      known: of the images that are known, such as those that were trained on.
      looks: of each image.
      groups: the content of each image.

    Returns:
      bool ``(images,)``.
    """
    sides = ["known"] * len(known) + ["asked"] * len(looks)
    near = {groups[other - len(known)] for _, other in near_duplicates([*known, *looks], sides)}
    return np.asarray([group in near for group in groups], bool)


def _alike(pictures: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """For each pair of positions whether the pictures ``(images, 32, 32)`` correlate; bool of the positions' shape."""
    # (pairs, 32, 32) -> (pairs, 1024)
    one, other = (pictures[chosen].reshape(len(chosen), -1).astype(np.float64) for chosen in (first, second))
    one, other = one - one.mean(1, keepdims=True), other - other.mean(1, keepdims=True)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (norms > _FLAT) & (np.einsum("pi,pi->p", one, other) > _CORRELATION * norms)


def save_looks(path: Path, looks: Sequence[Look]) -> None:
    """Write looks as ``.npz``, about 1 KB each."""
    temporary = path.with_name("partial." + path.name)  # with its ending, which NumPy would add
    np.savez_compressed(
        temporary,
        digests=np.asarray([one.digest for one in looks]),
        bits=np.asarray([one.bits for one in looks], np.uint64),
        pictures=np.stack([one.picture for one in looks]),
    )
    temporary.replace(path)


def load_looks(path: Path | epath.Path) -> list[Look]:
    """What ``save_looks`` wrote; ``InputError`` for another file."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            rows = zip(file["digests"].tolist(), file["bits"].tolist(), file["pictures"], strict=True)
            return [Look(*row) for row in rows]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(file=path, expected="what a preparation wrote", found=f"something else ({error})") from error


def shared_groups(
    groups: Sequence[str], looks: Sequence[Look], pairs: Sequence[tuple[int, int]], *, merge: bool
) -> list[str]:
    """Groups in which identical files share a group and, with ``merge``, so do near-duplicates."""
    return merge_groups(groups, [(a, b) for a, b in pairs if merge or looks[a].digest == looks[b].digest])


def merge_groups(groups: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """Groups in which both images of every pair share one: the first by name of all that are joined."""
    leader = {group: group for group in groups}

    def find(group: str) -> str:
        while leader[group] != group:
            leader[group] = leader[leader[group]]  # halves the way for the next
            group = leader[group]
        return group

    for first, second in pairs:
        one, other = sorted((find(groups[first]), find(groups[second])))
        leader[other] = one
    return [find(group) for group in groups]
