"""EfficientNet-Lite's maps in plain PyTorch, for ``torch_glintiqa.py``; parameters have the PyTorch port's names."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

_STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))  # kernel, stride, expansion
_TAPPED = (2, 3, 5, 6)  # stages, from 1, whose last blocks' outputs are maps
_STEM_CHANNELS = 32
_DEVIATION = 7.0  # of the maps with ImageNet's weights, by which ours divides them


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _SameConv(nn.Conv2d):
    """With TensorFlow's "SAME" padding: an odd pixel comes after rather than before."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, groups: int = 1):
        super().__init__(in_channels, channels, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        paddings: list[int] = []
        for side in (x.shape[3], x.shape[2]):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            paddings += [total // 2, total - total // 2]
        if paddings[::2] == paddings[1::2]:  # the convolution pads by itself
            return functional.conv2d(x, self.weight, None, stride, (paddings[2], paddings[0]), 1, self.groups)
        return super().forward(functional.pad(x, paddings))


class _InvertedResidual(nn.Module):
    def __init__(self, channels: int, out: int, *, kernel: int, stride: int, expansion: int):
        super().__init__()
        hidden = channels * expansion
        self.skip = stride == 1 and channels == out
        if expansion > 1:
            self._expand_conv = nn.Conv2d(channels, hidden, 1, bias=False)
            self._bn0 = _norm(hidden)
        self.expands = expansion > 1
        self._depthwise_conv = _SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = _norm(hidden)
        self._project_conv = nn.Conv2d(hidden, out, 1, bias=False)
        self._bn2 = _norm(out)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skip else y


class EfficientNetLite(nn.Module):
    """The maps at 1/4, 1/8, 1/16 and 1/32 of an image, of which the first ``maps``.

    Args:
      config: anything with ``stage_channels`` and ``stage_blocks``.
      maps: how many.
    """

    def __init__(self, config: Any, maps: int):
        super().__init__()
        self.tapped = [sum(config.stage_blocks[:stage]) - 1 for stage in _TAPPED][:maps]
        self._conv_stem = _SameConv(3, _STEM_CHANNELS, 3, 2)
        self._bn0 = _norm(_STEM_CHANNELS)
        channels, blocks = _STEM_CHANNELS, nn.ModuleList()
        sizes = zip(_STAGES, config.stage_channels, config.stage_blocks, strict=True)
        for (kernel, stride, expansion), out, repeats in sizes:
            for number in range(repeats):
                if len(blocks) <= self.tapped[-1]:
                    step = 1 if number else stride
                    blocks.append(_InvertedResidual(channels, out, kernel=kernel, stride=step, expansion=expansion))
                    channels = out
        self._blocks = blocks

    def forward(self, images: Tensor) -> list[Tensor]:
        """Of images normalised by mean 0.5 and deviation 0.5, ``(batch, 3, height, width)``."""
        x = ((images + 1) * 127.5 - 127.0) / 128.0  # as ImageNet's weights want pixels
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        maps = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in self.tapped:
                maps.append(x / _DEVIATION)
        return maps
