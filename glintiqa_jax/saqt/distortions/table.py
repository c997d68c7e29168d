"""KADID-10k's set: the 25 distortions' numbers, names, parameters of the five levels, definitions. It is fixed.

Source: H. Lin, V. Hosu and D. Saupe, "KADID-10k: A Large-scale Artificially Distorted IQA Database", QoMEX
2019, and the generation procedure published with it.
"""

from glintiqa_jax.saqt.distortions import blur, colour, compression, noise, spatial, tone
from glintiqa_jax.saqt.distortions.procedure import Distortion, DistortionSet

DISTORTIONS: tuple[Distortion, ...] = (
    Distortion(1, "gaussian_blur", (0.1, 0.5, 1, 2, 5), "Gaussian blur, sigma in pixels", blur.gaussian_blur),
    Distortion(2, "lens_blur", (1, 2, 4, 6, 8), "mean over a disk, radius in pixels", blur.lens_blur),
    Distortion(
        3, "motion_blur", (1, 2, 4, 6, 10), "mean along a line at a random angle, length in pixels",
        blur.motion_blur, random=True,
    ),
    Distortion(
        4, "colour_diffusion", (1, 3, 6, 8, 12), "a and b of Lab blurred with sigma 1.5a + 2, times a",
        colour.colour_diffusion,
    ),
    Distortion(
        5, "colour_shift", (1, 3, 6, 8, 12), "green channel shifted by a pixels, where there is structure",
        colour.colour_shift, random=True,
    ),
    Distortion(
        6, "colour_quantisation", (64, 48, 32, 16, 8), "palette of that many colours, dithered",
        colour.colour_quantisation,
    ),
    Distortion(
        7, "saturation_hsv", (0.4, 0.2, 0.1, 0, -0.4), "S of HSV multiplied", colour.saturation_hsv
    ),
    Distortion(8, "saturation_lab", (1, 2, 3, 6, 9), "a and b of Lab multiplied", colour.saturation_lab),
    Distortion(9, "jpeg2000", (16, 32, 45, 120, 400), "JPEG 2000, compression ratio", compression.jpeg2000),
    Distortion(10, "jpeg", (43, 36, 24, 7, 4), "JPEG, quality of 100", compression.jpeg),
    Distortion(
        11, "white_noise", (0.001, 0.002, 0.003, 0.005, 0.01), "white noise in RGB, variance",
        noise.white_noise, random=True,
    ),
    Distortion(
        12, "white_noise_ycbcr", (0.0001, 0.0005, 0.001, 0.002, 0.003), "white noise in YCbCr, variance",
        noise.white_noise_ycbcr, random=True,
    ),
    Distortion(
        13, "impulse_noise", (0.001, 0.005, 0.01, 0.02, 0.03), "salt and pepper, share of the values",
        noise.impulse_noise, random=True,
    ),
    Distortion(
        14, "speckle_noise", (0.001, 0.005, 0.01, 0.02, 0.05), "multiplicative noise, variance",
        noise.speckle_noise, random=True,
    ),
    Distortion(
        15, "denoise", (0.01, 0.03, 0.05, 0.1, 0.15), "white noise of that variance, then denoised",
        noise.denoise, random=True, denoises=True,
    ),
    Distortion(
        16, "brighten", (0.1, 0.2, 0.4, 0.7, 1.1), "curve through (0.5, 0.5 + a/2) on RGB and on lightness",
        tone.brighten,
    ),
    Distortion(
        17, "darken", (0.05, 0.1, 0.2, 0.4, 0.8), "curve through (0.5, 0.5 - a/2) on RGB", tone.darken
    ),
    Distortion(18, "mean_shift", (0.15, 0.08, 0, -0.08, -0.15), "added to every value", tone.mean_shift),
    Distortion(
        19, "jitter", (0.05, 0.1, 0.2, 0.5, 1), "five bicubic warps by N(0, a) pixels",
        spatial.jitter, random=True,
    ),
    Distortion(
        20, "non_eccentricity", (20, 40, 60, 80, 100), "that many 16x16 patches moved by up to 8 pixels",
        spatial.non_eccentricity, random=True,
    ),
    Distortion(
        21, "pixelate", (0.01, 0.05, 0.1, 0.2, 0.5), "nearest resize by 0.95 - a^0.6 and back",
        spatial.pixelate,
    ),
    Distortion(
        22, "quantisation", (20, 16, 13, 10, 7), "values reduced by that many Otsu thresholds",
        colour.quantisation,
    ),
    Distortion(
        23, "colour_block", (2, 4, 6, 8, 10), "that many 32x32 squares filled with random colours",
        spatial.colour_block, random=True,
    ),
    Distortion(
        24, "sharpen", (1, 2, 3, 6, 12), "unsharp mask on lightness, sigma 3, amount", blur.sharpen
    ),
    Distortion(
        25, "contrast", (0.3, 0.15, 0, -0.4, -0.6),
        "curve through (0.3, 0.25 - a/4), (0.5, 0.5), (0.7, 0.75 + a/4)", tone.contrast,
    ),
)  # fmt: skip
"""The 25 distortions in the database's order."""

KADID = DistortionSet("kadid10k", DISTORTIONS)
"""The set that KADID-10k's images, and those of SAQT, are made with."""
LEVELS = KADID.levels
"""The levels of each of them, 1 to 5."""
