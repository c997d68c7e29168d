"""Settings as a person writes them: one flat name each, and a value as text. Flags and recipes are read by this."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from glintiqa_jax import settings
from glintiqa_jax.errors import InputError

T = TypeVar("T")
_PREFIXED = ("model",)  # groups whose name stands before those of their settings: model_crop_size
_OFF = "none"  # a group that is absent


@dataclasses.dataclass(frozen=True)
class Option:
    """A setting, or which of several configurations a group is.

    Attributes:
      name: without groups, as in ``model_crop_size``.
      path: with all groups, as in ``model.crop_size``; its last part is the name for ``settings.replace``.
      kind: bool, int, float or str; of its parts where ``several``.
      several: whether it is a tuple.
      default: of the class; None for what depends on another choice.
      help: for people.
      kinds: of a group, the configurations by name; None for a setting.
      field: the configuration's.
    """

    name: str
    path: str
    kind: type
    several: bool
    default: Any
    help: str
    kinds: Mapping[str, type] | None
    field: dataclasses.Field

    @property
    def setting(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def effect(self) -> settings.Effect:
        return settings.effect_of(self.field)

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that are accepted; empty for any."""
        if self.kinds is not None:
            return (*self.kinds, _OFF) if self.kind is str else ()
        told = settings.setting_of(self.field)
        return (told.choices() if told and told.choices else None) or ()

    def value(self, text: str) -> Any:
        """What a text means; ``ValueError`` says what was expected."""
        parts = [part.strip() for part in text.split(",") if part.strip()] if self.several else [text]
        try:
            values = tuple(_READ[self.kind](part) for part in parts)
        except (ValueError, KeyError) as error:
            what = f"comma-separated {_CALLED[self.kind]}s" if self.several else f"a {_CALLED[self.kind]}"
            raise ValueError(f"expected {what}, found {text!r}") from error
        return values if self.several else values[0]


def _truth(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]


_READ: dict[type, Any] = {bool: _truth, int: int, float: float, str: str}
_CALLED = {bool: "truth value", int: "whole number", float: "number", str: "name"}


def options(config: type, *, within: str = "", prefix: str = "") -> dict[str, Option]:
    """Every setting and optional group of a configuration's class, of whatever kind its groups are, by name.

    Args:
      config: the class.
      within: its path below another one.
      prefix: of the names.
    """
    found: dict[str, Option] = {}
    for option, members in _own(config, within, prefix):
        if option is not None:
            found.setdefault(option.name, option)
        for path, member, prefix_below in members:
            for name, each in options(member, within=path, prefix=prefix_below).items():
                found.setdefault(name, each)
    return found


def _own(config: type, within: str, prefix: str) -> Iterator[tuple[Option | None, list[tuple[str, type, str]]]]:
    """Each field as an option, where it is one, and the classes below it."""
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        name, path, hint = prefix + field.name, within + field.name, hints[field.name]
        if settings.is_group(field):
            kinds, absent = field.metadata["group"], type(None) in typing.get_args(hint)
            members = kinds or {"": settings.group_type(config, field)}
            below = f"{field.name}_" if field.name in _PREFIXED else prefix
            chosen = Option(name, path, str if kinds else bool, False, None, _doc(members), members, field)
            yield (chosen if kinds or absent else None), [(f"{path}.", member, below) for member in members.values()]
        elif told := settings.setting_of(field):
            kind, several = _kind(hint)
            default = None if prefix else field.default  # the model's depend on the variant
            yield Option(told.flag or name, path, kind, several, default, told.help, None, field), []


def _doc(members: Mapping[str, type]) -> str:
    """What a group is, by the first line of its classes' documentation."""
    return "; ".join(
        f"{name + ': ' if name else ''}{(member.__doc__ or '').strip().splitlines()[0].rstrip('.')}"
        for name, member in members.items()
    )


def _kind(hint: Any) -> tuple[type, bool]:
    """The type of a setting's values as they are written, and whether it is a tuple of them."""
    if isinstance(hint, types.UnionType):  # with None, or with a function, which no text is
        hint = next(each for each in typing.get_args(hint) if each is not type(None))
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return (str, False) if typing.get_origin(hint) is typing.Literal else (hint, False)


def configured(base: T, given: Mapping[str, Any]) -> T:
    """A configuration with the options that are given.

    Args:
      base: what the others are as in.
      given: values by the options' names.

    Raises:
      InputError: for an option that what is chosen does not have, and what the configuration refuses.
    """
    known = options(type(base))
    chosen: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for name, value in given.items():
        option = known[name]
        (plain if option.kinds is None else chosen)[name] = value
    config = base
    for name, value in chosen.items():
        config = settings.replace(config, **{known[name].setting: _group(config, known[name], value)})
    there = {path.rpartition(".")[2] for path, _, _ in settings.settings(config)}
    for name in plain:
        if known[name].setting not in there:
            raise InputError(field=known[name].path, value=plain[name], problem="nothing that is chosen has it")
    return settings.replace(config, **{known[name].setting: value for name, value in plain.items()})


def _group(config: Any, option: Option, value: Any) -> Any:
    """The configuration that a group becomes: as it is where it is of that kind already, else its defaults."""
    assert option.kinds is not None
    now = config
    for name in option.path.split("."):
        now = getattr(now, name)
    if value in (False, _OFF):
        return None
    if value not in option.kinds and option.kind is str:
        raise InputError(field=option.path, expected=f"one of {', '.join(option.choices)}", found=repr(value))
    kind = option.kinds["" if option.kind is bool else value]
    return now if isinstance(now, kind) else kind()
