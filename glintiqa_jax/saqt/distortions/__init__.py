"""The 25 distortions of KADID-10k at five levels, by the database's own procedure, and sets of one's own.

from glintiqa_jax.saqt.distortions import distort
blurred = distort(image, "gaussian_blur", 3)
"""

from glintiqa_jax.saqt.distortions.noise import DEFAULT_DENOISER, Denoiser
from glintiqa_jax.saqt.distortions.procedure import MINIMUM_SIDE, Distortion, DistortionSet
from glintiqa_jax.saqt.distortions.table import DISTORTIONS, KADID, LEVELS

distort = KADID.distort

__all__ = [
    "DEFAULT_DENOISER",
    "DISTORTIONS",
    "KADID",
    "LEVELS",
    "MINIMUM_SIDE",
    "Denoiser",
    "Distortion",
    "DistortionSet",
    "distort",
]
