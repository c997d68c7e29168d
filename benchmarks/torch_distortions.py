"""Distortions in plain PyTorch operations, as one would write them there: the peer of ``benchmarks/distortions.py``.

Those that are left out need what PyTorch has no operation for: a codec (9, 10), a palette with dithering (6),
multi-level Otsu (22), a bilateral filter (15), a mask by percentiles of blurred gradients (5). Kernels and tone curves
are made as in the package; what is done to pixels is PyTorch's.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor
from torch.nn import functional

from glintiqa_jax.saqt.distortions import DISTORTIONS
from glintiqa_jax.saqt.distortions.blur import disk_kernel, motion_kernel

_XYZ = torch.tensor([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = torch.tensor([0.950456, 1.0, 1.088754])[:, None, None]
_YCBCR = torch.tensor([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
_YCBCR_OFFSET = torch.tensor([16.0, 128.0, 128.0])[:, None, None] / 255


def distort(image: np.ndarray, name: str, level: int) -> np.ndarray:
    """Uint8 RGB ``(height, width, 3)`` to the same, by the database's procedure; random ones draw from torch's seed."""
    amount = next(row.levels[level - 1] for row in DISTORTIONS if row.name == name)
    values = _stretch(torch.from_numpy(image).permute(2, 0, 1).to(torch.float32) / 255)
    values = _stretch(FUNCTIONS[name](values, amount))
    pixels = (values.clamp(0, 1) * 255).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).contiguous().numpy()


def _stretch(x: Tensor) -> Tensor:
    low, high = x.aminmax()
    return (x - low) / (high - low)


def _filter(x: Tensor, kernel: np.ndarray) -> Tensor:
    rows, columns = kernel.shape
    top, left = (rows - 1) // 2, (columns - 1) // 2
    padded = functional.pad(x[None], (left, columns - 1 - left, top, rows - 1 - top), mode="replicate")
    weight = torch.from_numpy(kernel.astype(np.float32))[None, None].expand(len(x), 1, -1, -1)
    return functional.conv2d(padded, weight, groups=len(x))[0]


def _gaussian(x: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(2 * sigma)
    line = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    line /= line.sum()
    return _filter(_filter(x, line[:, None]), line[None])


def _matrix(x: Tensor, matrix: Tensor) -> Tensor:
    return (matrix @ x.flatten(1)).view_as(x)


def _to_lab(x: Tensor) -> Tensor:
    linear = torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    ratio = _matrix(linear, _XYZ) / _WHITE
    f = torch.where(ratio > 0.008856, ratio ** (1 / 3), 7.787 * ratio + 16 / 116)
    return torch.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def _from_lab(lab: Tensor) -> Tensor:
    y = (lab[0] + 16) / 116
    f = torch.stack([y + lab[1] / 500, y, y - lab[2] / 200])
    xyz = torch.where(f > 6 / 29, f**3, (f - 16 / 116) / 7.787) * _WHITE
    linear = _matrix(xyz, torch.linalg.inv(_XYZ)).clamp(0, 1)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _curve(x: Tensor, *points: tuple[float, float]) -> Tensor:
    across, up = zip((0.0, 0.0), *points, (1.0, 1.0), strict=True)
    spline = CubicSpline(across, up, bc_type="not-a-knot")
    table = torch.from_numpy(np.clip(spline(np.linspace(0, 1, 1 << 16)), 0, 1).astype(np.float32))
    return table[(x.clamp(0, 1) * 65535).round().to(torch.int64)]


def _colour_diffusion(x: Tensor, a: float) -> Tensor:
    lab = _to_lab(x)
    return _from_lab(torch.cat([lab[:1], a * _gaussian(lab[1:], 1.5 * a + 2)]))


def _saturation_hsv(x: Tensor, factor: float) -> Tensor:
    return torch.lerp(x.amax(0, keepdim=True), x, factor)


def _saturation_lab(x: Tensor, factor: float) -> Tensor:
    return _from_lab(_to_lab(x) * torch.tensor([1.0, factor, factor])[:, None, None])


def _white_noise(x: Tensor, variance: float) -> Tensor:
    return (x + math.sqrt(variance) * torch.randn_like(x)).clamp(0, 1)


def _white_noise_ycbcr(x: Tensor, variance: float) -> Tensor:
    noisy = _white_noise(_matrix(x, _YCBCR) + _YCBCR_OFFSET, variance)
    return _matrix(noisy - _YCBCR_OFFSET, torch.linalg.inv(_YCBCR)).clamp(0, 1)


def _impulse_noise(x: Tensor, density: float) -> Tensor:
    draw = torch.rand_like(x)
    return torch.where(draw < density / 2, 0.0, torch.where(draw < density, 1.0, x))


def _speckle_noise(x: Tensor, variance: float) -> Tensor:
    return (x * (1 + math.sqrt(12 * variance) * (torch.rand_like(x) - 0.5))).clamp(0, 1)


def _brighten(x: Tensor, a: float) -> Tensor:
    lab, point = _to_lab(x), (0.5, 0.5 + a / 2)
    lab[0] = 100 * _curve(lab[0] / 100, point)
    return (2 * _curve(x, point) + _from_lab(lab)) / 3


def _jitter(x: Tensor, amount: float) -> Tensor:
    height, width = x.shape[1:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).to(torch.float32)
    size = torch.tensor([width - 1, height - 1])
    for _ in range(5):
        grid = 2 * (pixels + amount * torch.randn(height, width, 2)) / size - 1
        x = functional.grid_sample(x[None], grid[None], "bicubic", "border", align_corners=True)[0]
    return x.clamp(0, 1)


def _non_eccentricity(x: Tensor, patches: float) -> Tensor:
    moved = x.clone()
    height, width = x.shape[1:]
    for _ in range(int(patches)):
        row, column = (int(torch.randint(16, side - 31, ())) for side in (height, width))
        down, right = torch.randint(-8, 9, (2,)).tolist()
        patch = moved[:, row : row + 16, column : column + 16].clone()
        moved[:, row + down : row + down + 16, column + right : column + right + 16] = patch
    return moved


def _pixelate(x: Tensor, a: float) -> Tensor:
    scale = 0.95 - a**0.6
    for axis in (1, 2):
        size = x.shape[axis]
        small = math.ceil(size * scale)
        down = ((torch.arange(small) + 0.5) / scale).floor().to(torch.int64).clamp(0, size - 1)
        x = x.index_select(axis, down[((torch.arange(size) + 0.5) * small / size).floor().to(torch.int64)])
    return x


def _colour_block(x: Tensor, blocks: float) -> Tensor:
    covered = x.clone()
    for _ in range(int(blocks)):
        row, column = (int(torch.randint(side - 31, ())) for side in x.shape[1:])
        covered[:, row : row + 32, column : column + 32] = torch.rand(3, 1, 1)
    return covered


def _sharpen(x: Tensor, amount: float) -> Tensor:
    lab = _to_lab(x)
    lab[:1] += amount * (lab[:1] - _gaussian(lab[:1], 3.0))
    return _from_lab(lab)


FUNCTIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "gaussian_blur": _gaussian,
    "lens_blur": lambda x, radius: _filter(x, disk_kernel(radius)),
    "motion_blur": lambda x, length: _filter(x, motion_kernel(round(length), 180 * float(torch.rand(())))),
    "colour_diffusion": _colour_diffusion,
    "saturation_hsv": _saturation_hsv,
    "saturation_lab": _saturation_lab,
    "white_noise": _white_noise,
    "white_noise_ycbcr": _white_noise_ycbcr,
    "impulse_noise": _impulse_noise,
    "speckle_noise": _speckle_noise,
    "brighten": _brighten,
    "darken": lambda x, a: _curve(x, (0.5, 0.5 - a / 2)),
    "mean_shift": lambda x, shift: (x + shift).clamp(0, 1),
    "jitter": _jitter,
    "non_eccentricity": _non_eccentricity,
    "pixelate": _pixelate,
    "colour_block": _colour_block,
    "sharpen": _sharpen,
    "contrast": lambda x, a: _curve(x, (0.3, 0.25 - a / 4), (0.5, 0.5), (0.7, 0.75 + a / 4)),
}
"""By the names of the table: float32 RGB ``(3, height, width)`` in [0, 1] and the level's parameter to the same."""
