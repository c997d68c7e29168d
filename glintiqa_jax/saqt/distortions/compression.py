"""Distortions 9 and 10: a trip through a lossy file."""

import io

import numpy as np
import PIL.Image

from glintiqa_jax.saqt.distortions.colour_spaces import Image, from_uint8, to_uint8


def jpeg2000(image: Image, ratio: float) -> Image:
    """JPEG 2000 at compression ratio `ratio` : 1, irreversible wavelet."""
    return _through_file(image, "JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True)


def jpeg(image: Image, quality: float) -> Image:
    """JPEG at `quality` of 100, chroma subsampled 4:2:0."""
    return _through_file(image, "JPEG", quality=int(quality), subsampling="4:2:0")


def _through_file(image: Image, file_format: str, **options: object) -> Image:
    file = io.BytesIO()
    PIL.Image.fromarray(to_uint8(image)).save(file, format=file_format, **options)
    file.seek(0)
    with PIL.Image.open(file) as decoded:
        return from_uint8(np.asarray(decoded))
