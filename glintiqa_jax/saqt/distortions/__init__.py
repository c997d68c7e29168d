"""The 25 distortions of KADID-10k at five levels, by the database's own procedure.

from glintiqa_jax.saqt.distortions import distort
blurred = distort(image, "gaussian_blur", 3)
"""

from glintiqa_jax.saqt.distortions.procedure import distort
from glintiqa_jax.saqt.distortions.table import DISTORTIONS, Distortion

__all__ = ["DISTORTIONS", "Distortion", "distort"]
