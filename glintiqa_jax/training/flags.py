"""Every field of the configuration as an absl flag, generated once; ``--flagfile`` composes them.

The network's fields are ``--model_<field>`` and replace those of the chosen ``--variant``.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from absl import flags

from glintiqa_jax import settings
from glintiqa_jax.datasets.config import DataConfig, OwnImages
from glintiqa_jax.errors import UserError, named_fields
from glintiqa_jax.evaluation.baselines import check_baselines
from glintiqa_jax.evaluation.report import ReportOptions
from glintiqa_jax.models.glintiqa import GlintIQAConfig, variant_config
from glintiqa_jax.training.config import TrainConfig, check_numbers


def define_data_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the flags of ``DataConfig``, and ``--on_bad_image``."""
    for dotted, field, default in settings.settings(DataConfig()):
        said = settings.setting_of(field)
        assert said is not None
        told = dataclasses.field(default=default, metadata={"help": named_fields(said.help, "--{}".format)})
        kind = typing.get_type_hints(_owner(dotted))[field.name]
        _define_one(field.name, kind, told, flag_values)
    _define(TrainConfig, "", flag_values, only=("on_bad_image",))


def define_train_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the flags of ``TrainConfig``, of its data and of its network."""
    define_data_flags(flag_values)
    _define(TrainConfig, "", flag_values, leave=("on_bad_image",))
    _define(GlintIQAConfig, "model_", flag_values)


def define_report_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the flags of ``ReportOptions``."""
    _define(ReportOptions, "", flag_values)


def report_options(flag_values: flags.FlagValues = flags.FLAGS) -> ReportOptions:
    """The parsed report flags; ``UserError`` for a baseline that is unknown or not installed."""
    options = ReportOptions(**_given(ReportOptions, "", flag_values))
    check_baselines(options.baselines)
    return options


def other_data(flag_values: flags.FlagValues = flags.FLAGS) -> DataConfig | None:
    """The data flags of a command on a checkpoint; None where none says which data, so that its own are meant.

    Raises:
      UserError: for flags that would do nothing.
    """
    given = {field.name for _, field, _ in settings.settings(DataConfig()) if flag_values[field.name].present}
    if given & {"dataset", "images", "scores"}:
        return data_config(flag_values)
    if without := sorted(given - {"data_dir"}):
        raise UserError(f"--{without[0]}: needs --dataset, as a checkpoint's own data are as it was trained on them")
    return None


def data_config(flag_values: flags.FlagValues = flags.FLAGS, *, dataset: str | None = None) -> DataConfig:
    """The parsed data flags; ``UserError`` names the flag whose value is refused.

    Args:
      flag_values: the flags.
      dataset: another than ``--dataset``'s, without the flags of "csv" where it is none.
    """
    names = [field.name for _, field, _ in settings.settings(DataConfig())]
    values = {name: flag_values[name].value for name in names if flag_values[name].value is not None}
    if dataset is not None:
        values["dataset"] = dataset
        if dataset != "csv":
            own = {field.name for _, field, _ in settings.settings(OwnImages())}
            values = {name: value for name, value in values.items() if name not in own}
    return settings.replace(DataConfig(), **values)


def _owner(dotted: str) -> type:
    owner: typing.Any = DataConfig()
    for name in dotted.split(".")[:-1]:
        owner = getattr(owner, name)
    return type(owner)


def train_config(flag_values: flags.FlagValues = flags.FLAGS, *, dataset: str | None = None) -> TrainConfig:
    """The parsed flags as a configuration; arguments and errors as of ``data_config``."""
    values = _given(TrainConfig, "", flag_values)
    try:
        model = variant_config(values["variant"], **_given(GlintIQAConfig, "model_", flag_values))
    except ValueError as error:
        raise UserError(f"--model_{error}") from error
    check_numbers(model, "model_")
    return TrainConfig(data=data_config(flag_values, dataset=dataset), model=model, **values)


def _define(
    config: type,
    prefix: str,
    flag_values: flags.FlagValues,
    *,
    only: tuple[str, ...] = (),
    leave: tuple[str, ...] = (),
) -> None:
    kinds = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        if "help" in field.metadata and field.name not in leave and (not only or field.name in only):
            _define_one(prefix + field.name, kinds[field.name], field, flag_values, prefix)


def _define_one(
    name: str, kind: typing.Any, field: dataclasses.Field, flag_values: flags.FlagValues, prefix: str = ""
) -> None:
    help_text = field.metadata["help"]
    # A network's field has no default of its own here: the variant gives it.
    default: Any = None if prefix else field.default
    help_text += " (default: the variant's)" if prefix else ""
    if kind in (bool, bool | None):
        flags.DEFINE_bool(name, default, help_text, flag_values=flag_values)
    elif kind is int:
        flags.DEFINE_integer(name, default, help_text, flag_values=flag_values)
    elif kind is float:
        flags.DEFINE_float(name, default, help_text, flag_values=flag_values)
    elif kind is str and field.metadata.get("choices"):
        flags.DEFINE_enum(name, default, field.metadata["choices"], help_text, flag_values=flag_values)
    elif kind is str:
        flags.DEFINE_string(name, default, help_text, flag_values=flag_values)
    else:
        text = None if default is None else ",".join(map(str, default))
        flags.DEFINE(_TupleParser(typing.get_args(kind)[0]), name, text, help_text, flag_values=flag_values)


class _TupleParser(flags.ArgumentParser):
    """Comma-separated values to a tuple."""

    def __init__(self, kind: type):
        self.kind = kind
        self.syntactic_help = f"comma-separated {kind.__name__} values"

    def parse(self, argument: Any) -> tuple:
        if isinstance(argument, tuple):
            return argument
        try:
            return tuple(self.kind(part.strip()) for part in argument.split(",") if part.strip())
        except ValueError as error:
            raise ValueError(f"expected {self.syntactic_help}, found {argument!r}") from error

    def flag_type(self) -> str:
        return "comma-separated values"


def _given(config: type, prefix: str, flag_values: flags.FlagValues) -> dict[str, Any]:
    values = {
        field.name: flag_values[prefix + field.name].value
        for field in dataclasses.fields(config)
        if "help" in field.metadata
    }
    return {name: value for name, value in values.items() if value is not None}
