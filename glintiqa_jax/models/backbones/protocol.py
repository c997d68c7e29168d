"""What a backbone is to everyone else: ONE class, whose fields are its options and which says all that is asked of it.

A new backbone is a file here with such a class, and its line in ``backbones/__init__.py``. Flags follow from these
classes, so that the networks, which need JAX, stand in files of their own and are imported when they are built.
"""

from __future__ import annotations

import abc
import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from glintiqa_jax.models.files import Weights
from glintiqa_jax.models.pretrained import Origin

if TYPE_CHECKING:
    import jax
    from flax import nnx

Rules = Iterable[tuple[str, str | Callable[[re.Match[str]], str]]]
LEAVES: Rules = [(r"\b(kernel|scale)$", "weight"), (r"\bmean$", "running_mean"), (r"\bvar$", "running_var")]
"""Our names of a layer's arrays to PyTorch's."""


def renamed(name: str, rules: Rules) -> str:
    """A name after regular expressions and what replaces them, one after another."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


class Network(Protocol):
    """What a backbone may ask of the network that it is a branch of; a ``ModelConfig``."""

    @property
    def crop_size(self) -> int: ...
    @property
    def patch_size(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def maps(self) -> int: ...
    @property
    def cnn(self) -> LocalBackboneConfig | None: ...


class WholeBackbone(Protocol):
    """A backbone that stands by itself, for features of whole images."""

    def pooled(self, images: jax.Array) -> jax.Array:
        """float32 ``(batch, height, width, 3)`` in [0, 1] to features ``(batch, channels)``, means over all places."""
        ...


@dataclasses.dataclass(frozen=True)
class Whole:
    """How a ``WholeBackbone`` is made and where its ImageNet weights come from.

    Attributes:
      build: makes it.
      origins: by the name that stands for them, ``timm`` or ``package``.
      default: the name that is meant where none is given; empty where there is none.
      unused: regular expression of the keys that a file may hold beside.
    """

    build: Callable[[nnx.Rngs], Any]
    origins: Mapping[str, Origin] = dataclasses.field(default_factory=dict)
    default: str = ""
    unused: str = "$^"


class BackboneConfig(abc.ABC):
    """A backbone; subclasses are frozen dataclasses of settings whose names begin with its kind or its branch's name.

    The module that ``build`` makes is called with float32 images ``(batch, height, width, 3)`` in [0, 1], which it
    normalises itself, and gives a list of maps.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    unused: ClassVar[str] = "$^"
    """Regular expression of the published network's keys, below its branch, that GlintIQA never reads."""
    whole: ClassVar[dict[str, Whole]] = {}
    """By name, the whole backbones of this kind that give features for retrieval (paper section III-D)."""

    @abc.abstractmethod
    def build(self, network: Network, *, rngs: nnx.Rngs) -> nnx.Module:
        """The branch of a network."""

    @classmethod
    @abc.abstractmethod
    def recognises(cls, names: Collection[str]) -> bool:
        """Whether the keys of some weights are those of this kind, in a layout that ``read`` knows or explains."""

    @classmethod
    @abc.abstractmethod
    def published_name(cls, name: str) -> str:
        """The key in the published PyTorch layout of a variable's dotted name, ``blocks.0.qkv.kernel``."""

    def read(self, weights: Weights, network: Network | None = None) -> Weights:
        """Weights of any layout that is known in the published PyTorch layout, and in the shapes of ``network``.

        Raises:
          WeightsError: weights whose arithmetic is another.
        """
        return weights

    def may_be_unused(self, name: str) -> bool:
        """Whether a key of the published layout may be there without being read."""
        return re.fullmatch(self.unused, name) is not None

    def never_read(self, network: Network, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Keys and shapes that the official network has beside those of ``shapes``, and never uses."""
        return {}

    def origin(self, source: str, network: Network) -> Origin | None:
        """Where ``timm`` or ``package`` has ImageNet's weights of this branch; None where it has none of this kind.

        Raises:
          WeightsError: it has this kind, but of other sizes.
        """
        return None


class LocalBackboneConfig(BackboneConfig):
    """A CNN: maps of falling resolution, which multi-kernel embedding brings onto the grid of tokens.

    Its module's call takes ``train`` as well, for batch normalisation.
    """

    strides: ClassVar[tuple[int, ...]]
    """Image pixels per pixel of each map, from the first."""

    @property
    @abc.abstractmethod
    def channels(self) -> tuple[int, ...]:
        """Channels of each map."""

    @abc.abstractmethod
    def up_to(self, maps: int) -> str:
        """The pattern, as ``freeze`` takes it, of all that leads to the first so many maps."""
