"""GlintIQA in plain PyTorch, as one would write it there: what benchmarks measure ours beside.

With every part of the network in use, and a ResNet or an EfficientNet-Lite as the CNN branch. Parameters have the
official names, so that ``load_state_dict(strict=True)`` takes what ``export_glintiqa`` gives.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_efficientnet_lite import EfficientNetLite

_RELEASED_DEPTH = 12  # blocks of the official ViT; those after the last tap have weights and are not run
_RELEASED_CLASSES = 1000  # of its unused head
_STRIDES = (4, 8, 16, 32)  # a stage's map is so many times smaller than the image


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        # (batch, tokens, 3 * width) -> three of (batch, heads, tokens, width / heads)
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v)
        # (batch, heads, tokens, width / heads) -> (batch, tokens, width)
        return self.proj(attended.transpose(1, 2).reshape(batch, tokens, width))


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = _Mlp(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class _PatchEmbedding(nn.Module):
    """A convolution whose kernel is its stride: ``(batch, channels, height, width)`` to ``(batch, tokens, width)``."""

    def __init__(self, channels: int, width: int, kernel: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel, stride=kernel)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class _VisionTransformer(nn.Module):
    def __init__(self, config: Any, tokens: int):
        super().__init__()
        width = config.width
        self.tapped_blocks = config.tapped_blocks
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + tokens, width))
        self.stem = config.vit_stem
        channels, stride = (map_channels(config)[self.stem - 1], _STRIDES[self.stem - 1]) if self.stem else (3, 1)
        self.patch_embed = _PatchEmbedding(channels, width, config.patch_size // stride)
        depth = max(_RELEASED_DEPTH, config.tapped_blocks[-1] + 1)
        self.blocks = nn.ModuleList(_Block(width, config.vit_heads, config.vit_mlp_width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, _RELEASED_CLASSES)

    def forward(self, images: Tensor, maps: list[Tensor]) -> list[Tensor]:
        x = self.patch_embed(maps[self.stem - 1] if self.stem else images)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        taps = []
        for number, block in enumerate(self.blocks[: self.tapped_blocks[-1] + 1]):
            x = block(x)
            if number in self.tapped_blocks:
                taps.append(x[:, 1:])
        return taps


class _BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _downsample(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class _Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _downsample(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


def _downsample(in_channels: int, channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))


class _ResNet(nn.Module):
    def __init__(self, config: Any):
        super().__init__()
        block = _Bottleneck if config.resnet_bottleneck else _BasicBlock
        width = channels = config.resnet_width
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for stage, blocks in enumerate(config.resnet_blocks, start=1):
            layers = []
            for number in range(blocks):
                stride = 2 if stage > 1 and number == 0 else 1
                layers.append(block(channels, width * 2 ** (stage - 1), stride))
                channels = width * 2 ** (stage - 1) * block.expansion
            setattr(self, f"layer{stage}", nn.Sequential(*layers))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = functional.relu(self.bn1(self.conv1(images)))
        maps = [functional.max_pool2d(x, 3, stride=2, padding=1)]
        for stage in (1, 2, 3):
            maps.append(getattr(self, f"layer{stage}")(maps[-1]))
        return maps[1:]


def map_channels(config: Any) -> list[int]:
    """The channels of the CNN's maps."""
    if config.kind == "resnet":
        expansion = (_Bottleneck if config.resnet_bottleneck else _BasicBlock).expansion
        return [config.resnet_width * 2**stage * expansion for stage in range(3)]
    return [config.stage_channels[stage] for stage in (1, 2, 4, 5)]


class _LocalFeatures(nn.Module):
    """The CNN's maps, and those of embedded stages on the ViT's token grid."""

    def __init__(self, config: Any):
        super().__init__()
        maps = max(config.embedded_stages)
        self.backbone = _ResNet(config) if config.kind == "resnet" else EfficientNetLite(config, maps)
        self.embedded_stages = config.embedded_stages
        for stage in config.embedded_stages:
            kernel = config.patch_size // _STRIDES[stage - 1]
            channels = map_channels(config)[stage - 1]
            setattr(self, f"patch_embed{stage}", _PatchEmbedding(channels, config.width, kernel))

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = self.backbone(images)
        embedded = [getattr(self, f"patch_embed{stage}")(maps[stage - 1]) for stage in self.embedded_stages]
        return torch.cat(embedded, dim=2), maps


class _ChannelWiseSelfAttention(nn.Module):
    def __init__(self, tokens: int, dropout: float):
        super().__init__()
        self.c_q = nn.Linear(tokens, tokens)
        self.c_k = nn.Linear(tokens, tokens)
        self.c_v = nn.Linear(tokens, tokens)
        self.norm = nn.LayerNorm(tokens)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, tokens)`` to the same shape."""
        q, k = functional.normalize(self.c_q(x), dim=-1), functional.normalize(self.c_k(x), dim=-1)
        attention = (q @ k.transpose(1, 2) * x.shape[-1] ** -0.5).softmax(dim=-1)
        y = self.dropout(attention @ self.c_v(x))
        # as released: (batch, tokens, channels) is read as (batch, channels, tokens), which shuffles indices
        y = y.transpose(1, 2).reshape(x.shape)
        return x + self.norm(y)


class _SpatialInteraction(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(2 * width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 2 * width, tokens)`` to ``(batch, tokens, width)``; the token grid is square."""
        side = round(x.shape[2] ** 0.5)
        # (batch, 2 width, tokens) -> (batch, 2 width, side, side) -> (batch, width, tokens) -> (batch, tokens, width)
        return self.conv(x.reshape(len(x), -1, side, side)).flatten(2).transpose(1, 2)


class _QualityHead(nn.Module):
    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.mean(dim=1))[:, 0]


class GlintIQA(nn.Module):
    """One score per crop.

    Args:
      config: anything with the settings of a ``ModelConfig`` and of its groups as attributes, ``kind`` the CNN's, and
        an EfficientNet-Lite's ``stage_channels`` and ``stage_blocks``.

    Raises:
      ValueError: for a network that lacks a part.
    """

    def __init__(self, config: Any):
        super().__init__()
        whole = config.use_cwsa and config.use_siem and config.attention_layout == "released"
        if not whole or not config.kind.startswith(("resnet", "efficientnet_lite")):
            branch = "a ResNet or an EfficientNet-Lite"
            raise ValueError(f"expected a network of all parts with {branch} and the released attention layout")
        tokens = (config.crop_size // config.patch_size) ** 2
        self.stages = range(1, len(config.tapped_blocks) + 1)
        self.vgfe = nn.Module()
        self.vgfe.backbone = _VisionTransformer(config, tokens)
        self.clfe = _LocalFeatures(config)
        self.local_cwsa = _ChannelWiseSelfAttention(tokens, config.attention_dropout)
        self.local_projection = nn.Linear(len(config.embedded_stages) * config.width, config.width)
        for stage in self.stages:
            setattr(self, f"cwsa{stage}", _ChannelWiseSelfAttention(tokens, config.attention_dropout))
            setattr(self, f"siem{stage}", _SpatialInteraction(config.width))
        self.quality_head = _QualityHead(config.width, config.head_dropout)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Scores ``(batch,)`` of crops ``(batch, 3, crop, crop)``, normalised by mean 0.5 and deviation 0.5."""
        embedded, maps = self.clfe(images)
        taps = self.vgfe.backbone(images, maps)
        attended = self.local_cwsa(embedded.transpose(1, 2))
        feature = self.local_projection(attended.transpose(1, 2))
        for stage, tap in zip(self.stages, taps, strict=True):
            # (batch, tokens, 2 d) -> (batch, 2 d, tokens)
            joined = torch.cat([tap, feature], dim=2).transpose(1, 2)
            feature = getattr(self, f"siem{stage}")(getattr(self, f"cwsa{stage}")(joined))
        return self.quality_head(feature)
