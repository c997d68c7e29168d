"""Fields of configurations: each has a default, a help and an effect, from which comparisons and flags follow.

A configuration is a frozen dataclass. Its fields are settings, or configurations below it: a group has a name of its
own, and a setting's name is unique over all groups, so that ``replace(config, learning_rate=1e-3)`` and a flag of
that name need no path.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeVar

from glintiqa_jax.errors import InputError
from glintiqa_jax.identity import function_id

Effect = Literal["nothing", "rounding", "results", "shape"]
"""What a change of a setting changes: no figure; the last digits; figures; the shape of what is trained."""

T = TypeVar("T")
_BY_KIND = "kind"  # in JSON, which of several configurations a group is


@dataclasses.dataclass(frozen=True)
class Setting:
    """A field's metadata beside its type and default.

    Attributes:
      help: for users; it may name other settings in backticks.
      effect: what another value changes.
      choices: gives the accepted values, as their table may grow; None for any.
      flag: the name as a flag, if it differs from the field's.
      formerly: names that the field had; files that have one of them are read all the same.
    """

    help: str
    effect: Effect = "results"
    choices: Callable[[], tuple[str, ...]] | None = None
    flag: str = ""
    formerly: tuple[str, ...] = ()


def setting(
    default: Any,
    help_text: str,
    *,
    effect: Effect = "results",
    choices: tuple[str, ...] | Mapping[str, Any] | None = None,
    flag: str = "",
    formerly: tuple[str, ...] = (),
) -> Any:
    """A field of a configuration; ``choices`` may be a table, which is read when it is needed."""
    accepted = None if choices is None else (lambda: tuple(choices))
    return dataclasses.field(
        default=default, metadata={"setting": Setting(help_text, effect, accepted, flag, formerly)}
    )


def group(default: Any, *, kinds: Mapping[str, type] | None = None, formerly: tuple[str, ...] = ()) -> Any:
    """A configuration below another one.

    Args:
      default: a configuration, or None where the group may be absent.
      kinds: where it may be one of several configurations, the table of them by name; each has its name as ``kind``.
      formerly: names that the group had, as of a setting.
    """
    return dataclasses.field(default=default, metadata={"group": kinds, "formerly": formerly})


def is_group(field: dataclasses.Field) -> bool:
    """Whether a field is a configuration below."""
    return "group" in field.metadata


def setting_of(field: dataclasses.Field) -> Setting | None:
    """A field's ``Setting``; None for a group and for other fields."""
    return field.metadata.get("setting")


def _former_names(field: dataclasses.Field) -> tuple[str, ...]:
    found = setting_of(field)
    return found.formerly if found else field.metadata.get("formerly", ())


def settings(config: Any) -> Iterator[tuple[str, dataclasses.Field, Any]]:
    """Dotted name, field and value of every setting of a configuration, depth first."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if is_group(field):
            if value is not None:
                yield from ((f"{field.name}.{name}", each, found) for name, each, found in settings(value))
        elif setting_of(field):
            yield field.name, field, value


def replace(config: T, **values: Any) -> T:
    """A configuration with other values of settings, by their names, or of groups.

    Raises:
      InputError: a name that it does not have, and what the configuration refuses.

    Example:
      >>> from glintiqa_jax.training.experiment import Experiment
      >>> replace(Experiment(), learning_rate=1e-3).optimiser.learning_rate
      0.001
    """
    changed, left = _replaced(config, values)
    if left:
        known = sorted({name.split(".")[-1] for name, _, _ in settings(config)})
        raise InputError(field=sorted(left)[0], expected=f"a setting: {', '.join(known)}", found="another name")
    return changed


def _replaced(config: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    left, mine = dict(values), {}
    for field in dataclasses.fields(config):
        if field.name in left:
            mine[field.name] = left.pop(field.name)
    for field in dataclasses.fields(config):
        value = mine.get(field.name, getattr(config, field.name))
        if is_group(field) and value is not None and left:
            mine[field.name], left = _replaced(value, left)
    return (dataclasses.replace(config, **mine) if mine else config), left


def to_json(config: Any) -> dict[str, Any]:
    """Nested plain values; tuples become lists, and a group of several kinds says which it is."""
    content: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if is_group(field) and value is not None:
            kind = {_BY_KIND: value.kind} if field.metadata["group"] is not None else {}
            content[field.name] = kind | to_json(value)
        elif callable(value):
            content[field.name] = value.text if isinstance(value, Stored) else _function_id(field.name, value)
        else:
            content[field.name] = list(value) if isinstance(value, tuple) else value
    return content


@dataclasses.dataclass(frozen=True)
class Stored:
    """A function as a file has it, by ``function_id``: equal to no function, but written as the same text."""

    text: str

    def __call__(self, *arguments: Any) -> Any:
        raise InputError(f"{self.text} is a function's name in a file; training needs the function")


def _function_id(name: str, function: Callable) -> str:
    try:
        return function_id(function)
    except InputError as error:
        raise InputError(field=name, expected=error.expected, found=error.found) from error


def _takes_functions(kind: type, name: str) -> bool:
    return Callable in typing.get_args(typing.get_type_hints(kind)[name])


def from_json(kind: type[T], content: Mapping[str, Any]) -> T:
    """The configuration that ``to_json`` wrote; settings that it lacks have their defaults, and names that they
    had before are read as those that they have.

    Raises:
      InputError: for settings that this version does not know, and values that the configuration refuses.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    fields |= {old: field for field in fields.values() for old in _former_names(field)}
    if unknown := sorted(set(content) - set(fields)):
        raise InputError(f"settings that this version does not know: {', '.join(unknown)}")
    values: dict[str, Any] = {}
    for given, value in content.items():
        name = fields[given].name
        if is_group(fields[name]) and value is not None:
            values[name] = from_json(*_group_from(kind, fields[name], dict(value)))
        elif isinstance(value, str) and "@" in value and _takes_functions(kind, name):
            values[name] = Stored(value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _group_from(kind: type, field: dataclasses.Field, content: dict[str, Any]) -> tuple[type, dict[str, Any]]:
    kinds = field.metadata["group"]
    if kinds is None:
        return group_type(kind, field), content
    name = content.pop(_BY_KIND, None)
    if name not in kinds:
        raise InputError(field=field.name, expected=f"one of {', '.join(kinds)}", found=repr(name))
    return kinds[name], content


def group_type(kind: type, field: dataclasses.Field) -> type:
    """The configuration that a group of one kind is."""
    hint = typing.get_type_hints(kind)[field.name]
    (found,) = [each for each in typing.get_args(hint) or (hint,) if each is not type(None)]
    return found


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by their dotted names, of what ``to_json`` gave; a group of several kinds is its kind, too."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


@dataclasses.dataclass(frozen=True)
class Change:
    """A setting in which two configurations differ."""

    name: str
    here: Any
    there: Any
    effect: Effect

    def __str__(self) -> str:
        return f"{self.name}: {self.here!r} here, {self.there!r} there"


def changes(here: Any, there: Any) -> list[Change]:
    """The settings in which two configurations of one class differ, with what each changes."""
    ours, theirs = flat(to_json(here)), flat(to_json(there))
    effects = {name: effect_of(field) for config in (here, there) for name, field, _ in settings(config)}
    names = [name for name in dict.fromkeys([*ours, *theirs]) if ours.get(name) != theirs.get(name)]
    return [Change(name, ours.get(name), theirs.get(name), effects.get(name, "shape")) for name in names]


def effect_of(field: dataclasses.Field) -> Effect:
    """What another value of a setting changes."""
    found = setting_of(field)
    return found.effect if found else "shape"


def check_choices(config: Any) -> None:
    """``InputError`` for a setting whose value is none of its choices; the configuration's own settings alone."""
    for field in dataclasses.fields(config):
        found = setting_of(field)
        choices, value = found and found.choices and found.choices(), getattr(config, field.name)
        for each in value if isinstance(value, tuple) else (value,):
            takes = callable(each) and _takes_functions(type(config), field.name)
            if choices and each not in choices and not takes:
                raise InputError(field=field.name, expected=f"one of {', '.join(choices)}", found=repr(each))
