"""What is not trained, by regular expressions on the dotted names of parameters and statistics: training policy."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flax import nnx

from glintiqa_jax.errors import InputError


def freeze(model: nnx.Module, patterns: Sequence[str]) -> None:
    """Freeze, in place, every parameter and statistic in whose dotted name one of the patterns is found.

    A frozen parameter is not trained. A batch normalisation whose mean is frozen normalises by its running statistics
    in training, too, and leaves them as they are.

    Args:
      model: a ``GlintIQA`` or a part of one; it may be abstract.
      patterns: regular expressions, searched for in names such as ``vgfe.blocks.3.attn.qkv.kernel`` and
        ``clfe.bn1.mean``.

    Raises:
      InputError: a pattern that is not a regular expression, or that matches no name; nothing is frozen then.
    """
    variables = _variables(model)
    frozen: set[str] = set()
    for pattern in patterns:
        found = found_in(model, pattern)
        if not found:
            hint = f"one of them is {next(iter(variables), 'none')}"
            expected = "patterns that are found in a name of the network"
            raise InputError(field="frozen", expected=expected, found=repr(pattern), hint=hint)
        frozen.update(found)
    for name in frozen:
        variables[name].set_metadata(frozen=True)


def found_in(model: nnx.Module, pattern: str) -> list[str]:
    """The dotted names of parameters and statistics that a pattern matches; ``InputError`` for an invalid pattern."""
    try:
        return [name for name in _variables(model) if re.search(pattern, name)]
    except re.error as error:
        raise InputError(field="frozen", expected="regular expressions", found=f"{pattern!r} ({error})") from error


def _variables(model: nnx.Module) -> dict[str, nnx.Variable]:
    nodes = nnx.iter_graph(model)
    return {".".join(map(str, path)): node for path, node in nodes if isinstance(node, nnx.Variable)}


def is_frozen(variable: nnx.Variable) -> bool:
    """Whether ``freeze`` has frozen a parameter or statistic."""
    return bool(variable.get_metadata().get("frozen", False))


def split_model(model: nnx.Module) -> tuple[nnx.GraphDef, nnx.State, nnx.State]:
    """A model as (definition, trained parameters, frozen parameters and all statistics)."""

    def is_trained(path: tuple, value: nnx.Variable) -> bool:
        return isinstance(value, nnx.Param) and not is_frozen(value)

    graphdef, trained, *rest = nnx.split(model, is_trained, ...)
    return graphdef, trained, rest[0]
