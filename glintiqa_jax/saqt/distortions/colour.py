"""Distortions 4 to 8 and 22: colour diffused, shifted, saturated and reduced to fewer values."""

import math

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from glintiqa_jax.saqt.distortions.blur import gaussian
from glintiqa_jax.saqt.distortions.colour_spaces import (
    Image,
    clip,
    from_uint8,
    lab_to_rgb,
    luminance,
    rgb_to_lab,
    to_uint8,
)

PALETTE_SAMPLE = 3000
"""Pixels, about, from which the palette of `colour_quantisation` is made."""


def colour_diffusion(image: Image, amount: float) -> Image:
    """a and b of Lab blurred with sigma 1.5 * amount + 2 pixels and multiplied by `amount`."""
    lab = rgb_to_lab(image)
    lab[..., 1:] = amount * gaussian(np.ascontiguousarray(lab[..., 1:]), 1.5 * amount + 2)
    return lab_to_rgb(lab)


def colour_shift(image: Image, amount: float, rng: np.random.Generator, *, direction: float | None = None) -> Image:
    """The green channel shifted by `amount` pixels, blended in where the image has structure.

    Args:
        direction: degrees clockwise from the positive x axis (y points down); drawn when None, from the first
            quadrant as in the database's procedure (a normalised vector of two uniform numbers).
    """
    if direction is None:
        direction = math.degrees(math.atan2(*rng.random(2)))
    shift_x = round(amount * math.cos(math.radians(direction)))
    shift_y = round(amount * math.sin(math.radians(direction)))
    height, width = image.shape[:2]
    rows = np.clip(np.arange(height) - shift_y, 0, height - 1)
    columns = np.clip(np.arange(width) - shift_x, 0, width - 1)
    green = image[..., 1]
    mask = structure_mask(image)
    shifted = image.copy()
    shifted[..., 1] += mask * (green[rows[:, None], columns] - green)
    return shifted


def structure_mask(image: Image) -> NDArray[np.float32]:
    """Gradient magnitude of the luminance, blurred with sigma 4, 1st..99th percentile stretched to [0, 1].

    Returns:
        float32 of shape (height, width); zero everywhere where the image has no gradient.
    """
    grey = luminance(image)
    slope_x = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=1, borderType=cv2.BORDER_REPLICATE)
    slope_y = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=1, borderType=cv2.BORDER_REPLICATE)
    edges = gaussian(np.asarray(cv2.magnitude(slope_x, slope_y), np.float32), 4.0)
    low, high = np.percentile(edges, [1, 99])
    if high <= low:
        return np.zeros_like(edges)
    return clip((edges - np.float32(low)) / np.float32(high - low))


def colour_quantisation(image: Image, colours: float) -> Image:
    """A palette of `colours` colours (median cut refined by k-means), Floyd-Steinberg dithering."""
    pixels = to_uint8(image)
    picture = PIL.Image.fromarray(pixels)
    # A palette from some 3,000 pixels has up to a tenth more squared error, and comes 50 times faster.
    stride = max(1, math.isqrt(image.shape[0] * image.shape[1] // PALETTE_SAMPLE))
    sample = PIL.Image.fromarray(np.ascontiguousarray(pixels[::stride, ::stride]))
    palette = sample.quantize(int(colours), method=PIL.Image.Quantize.MEDIANCUT, kmeans=1)
    # Pillow dithers only when it maps to a palette that is given, hence the second call.
    mapped = picture.quantize(palette=palette, dither=PIL.Image.Dither.FLOYDSTEINBERG)
    return from_uint8(np.asarray(mapped.convert("RGB")))


def saturation_hsv(image: Image, factor: float) -> Image:
    """S of HSV multiplied by `factor`; a negative factor turns to the complementary hue.

    With hue and value fixed a channel is linear in S, c = V - (V - c0) * factor: no conversion is needed.
    """
    red, green, blue = cv2.split(image)
    value = np.maximum(np.maximum(red, green), blue)
    return np.asarray(cv2.addWeighted(image, factor, cv2.merge([value] * 3), 1 - factor, 0), np.float32)


def saturation_lab(image: Image, factor: float) -> Image:
    """a and b of Lab multiplied by `factor`."""
    lab = rgb_to_lab(image)
    lab[..., 1:] *= np.float32(factor)
    return lab_to_rgb(lab)


def quantisation(image: Image, thresholds: float) -> Image:
    """Values reduced to `thresholds` + 1 by multi-level Otsu thresholds over all three channels together.

    As in the database's procedure, a value becomes the upper threshold of its class, the lowest class 0 and
    the highest 1.
    """
    values = to_uint8(image)
    bins = otsu_thresholds(np.bincount(values.ravel(), minlength=256), int(thresholds))
    levels = np.concatenate([[0.0], bins[1:] / 255, [1.0]]).astype(np.float32)
    return levels[np.searchsorted(bins, np.arange(256))][values]


def otsu_thresholds(histogram: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """The `count` thresholds that maximise the variance between classes, by dynamic programming.

    Exact, and O(count * bins^2) where the search over all combinations is O(bins^count).

    Args:
        histogram: counts per value, (bins,).
        count: thresholds wanted, at least 1 and below the number of bins.

    Returns:
        Increasing values, (count,): class k holds threshold[k - 1] < value <= threshold[k].
    """
    bins = len(histogram)
    weight = np.concatenate([[0.0], np.cumsum(histogram, dtype=np.float64)])
    moment = np.concatenate([[0.0], np.cumsum(histogram * np.arange(bins, dtype=np.float64))])
    class_weight = weight[None, :] - weight[:, None]  # (first, end): of the values first..end - 1
    class_moment = moment[None, :] - moment[:, None]
    first, end = np.indices((bins + 1, bins + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(class_weight > 0, class_moment**2 / class_weight, 0.0)
    gain[first >= end] = -np.inf  # every class spans at least one value
    best = gain[0]
    choices = []
    for _ in range(count):
        total = best[:, None] + gain
        choice = np.argmax(total, axis=0)
        choices.append(choice)
        best = total[choice, np.arange(bins + 1)]
    edge = bins
    edges = []
    for choice in reversed(choices):
        edge = int(choice[edge])
        edges.append(edge - 1)
    return np.array(edges[::-1])
