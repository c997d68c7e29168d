"""PyTorch's side of ``evaluate_folder.py``: crops of photographs, decoded for each crop or for each image.

PyTorch is imported inside, so that processes that measure JAX need not have it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

GRID = 5  # crops per side of an image


def batches(
    way: type[CropsOfFiles | FilesInCrops], files: list[Path], *, crop_size: int, batch_size: int, workers: int
) -> Iterator[Any]:
    """Normalised crops, float32 tensors ``(batch, 3, crop, crop)``: the files in their order, each row by row.

    Args:
      way: what a sample of the dataset is.
      files: the photographs.
      crop_size: side of a crop, in pixels.
      batch_size: crops per batch at most.
      workers: processes that load; 0 is this one.
    """
    import torch.utils.data

    dataset: Any = way(files, crop_size)  # no subclass of torch's, which is imported here alone
    options: dict[str, Any] = {"num_workers": workers}
    if workers and sys.platform == "linux":
        # as in a process that was not spawned itself: spawned workers would take two seconds to import PyTorch
        options["multiprocessing_context"] = "fork"
    if way is CropsOfFiles:
        yield from torch.utils.data.DataLoader(dataset, batch_size=batch_size, **options)
    else:
        for crops in torch.utils.data.DataLoader(dataset, batch_size=None, **options):
            yield from crops.split(batch_size)


class CropsOfFiles:
    """For PyTorch's DataLoader: every crop of every file, each from a file that is decoded for it."""

    def __init__(self, files: list[Path], crop_size: int):
        self._samples = [(path, row, column) for path in files for row in range(GRID) for column in range(GRID)]
        self._crop_size = crop_size

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, position: int) -> Any:
        path, row, column = self._samples[position]
        return _normalised_crop(_opened(path), self._crop_size, row, column)


class FilesInCrops:
    """For PyTorch's DataLoader: all crops of each file, decoded once."""

    def __init__(self, files: list[Path], crop_size: int):
        self._files, self._crop_size = files, crop_size

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, position: int) -> Any:
        import torch

        image = _opened(self._files[position])
        places = [(row, column) for row in range(GRID) for column in range(GRID)]
        return torch.stack([_normalised_crop(image, self._crop_size, *place) for place in places])


def _opened(path: Path) -> Any:
    """A file as an RGB image of Pillow's, turned as its EXIF data say, as ours are."""
    from PIL import Image, ImageOps

    with path.open("rb") as file, Image.open(file) as image:
        ImageOps.exif_transpose(image, in_place=True)
        return image.convert("RGB")


def _normalised_crop(image: Any, crop_size: int, row: int, column: int) -> Any:
    """What torchvision's ``ToTensor`` and ``Normalize`` make of a crop: float32 ``(3, crop, crop)`` in [-1, 1]."""
    import torch

    left, top = (
        round(step * (side - crop_size) / (GRID - 1)) for step, side in ((column, image.width), (row, image.height))
    )
    crop = torch.from_numpy(np.array(image.crop((left, top, left + crop_size, top + crop_size))))
    return crop.permute(2, 0, 1).contiguous().to(torch.float32).div(255).sub_(0.5).div_(0.5)
