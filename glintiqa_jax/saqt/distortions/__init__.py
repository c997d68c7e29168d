"""The 25 distortions of KADID-10k at five levels, by the database's own procedure.

from glintiqa_jax.saqt.distortions import distort
blurred = distort(image, "gaussian_blur", 3)
"""

from glintiqa_jax.saqt.distortions.noise import DEFAULT_DENOISER, Denoiser
from glintiqa_jax.saqt.distortions.procedure import MINIMUM_SIDE, distort
from glintiqa_jax.saqt.distortions.table import DISTORTIONS, LEVELS, Distortion

__all__ = ["DEFAULT_DENOISER", "DISTORTIONS", "LEVELS", "MINIMUM_SIDE", "Denoiser", "Distortion", "distort"]
