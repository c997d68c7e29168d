"""Settings as absl flags, parsed flags as configurations, and the fields of errors as the flags they are.

A job's flags are its own: each call has its ``Flags``, and nothing is left of them afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from absl import flags

from glintiqa_jax import recipes
from glintiqa_jax.errors import InputError, named_fields
from glintiqa_jax.options import Option, configured, options
from glintiqa_jax.progress import Log, Terminal

if TYPE_CHECKING:
    from glintiqa_jax.evaluation.report import ReportOptions
    from glintiqa_jax.training.config import DataConfig, TrainConfig


_EFFECTS = {"nothing": "; changes no figure", "rounding": "; changes figures by rounding"}


class _Messages(Terminal):
    """A ``Log`` in which fields are flags."""

    def __init__(self, called: Callable[[str], str]):
        self._called = called

    def say(self, line: str) -> None:
        super().say(named_fields(line, self._called))

    def warn(self, line: str) -> None:
        super().warn(named_fields(line, self._called))


class Flags(flags.FlagValues):
    """The flags of one call of a job.

    Attributes:
      command: what was called, as reports show it.
      log: where messages go.
      names: the flags of settings, by the settings' names.
    """

    command: str
    log: Log
    names: dict[str, str]

    def __init__(self, command: str = ""):
        super().__init__()
        self.__dict__.update(command=command, log=_Messages(self.called), names={})  # other attributes are flags

    def called(self, field: str) -> str:
        """What a person calls a field: its flag, whatever group it is in, or the field itself where there is none."""
        setting = field.rpartition(".")[2]
        name = self.names.get(setting, setting)
        return f"--{name}" if name in self or setting in self.names else field

    def given(self, names: Iterable[str]) -> dict[str, Any]:
        """The values of those of these flags that were given."""
        return {name: self[name].value for name in names if self[name].present}


def define_settings(config: type, values: Flags, title: str) -> None:
    """Define a flag for each option of a configuration's class.

    Args:
      config: the class.
      values: where they are defined.
      title: what the help calls those that are in no group.
    """
    known = options(config)
    values.names.update({option.setting: option.name for option in known.values()})
    for option in known.values():
        group = option.path.partition(".")[0] if "." in option.path else title
        help_text = named_fields(option.help, values.called) + _EFFECTS.get(option.effect, "")
        if group == "model":
            help_text += " (default: the variant's)"
        default = ",".join(map(str, option.default)) if isinstance(option.default, tuple) else option.default
        if option.kind is bool:
            flags.DEFINE_bool(option.name, default, help_text, values, group)
        else:
            flags.DEFINE(_Parser(option), option.name, default, help_text, values, module_name=group)


class _Parser(flags.ArgumentParser):
    """Reads an option's value; the configuration checks it."""

    def __init__(self, option: Option):
        self._option = option

    @property
    def syntactic_help(self) -> str:  # type: ignore[override]
        return "|".join(self._option.choices)

    def parse(self, argument: Any) -> Any:
        return self._option.value(argument) if isinstance(argument, str) else argument

    def flag_type(self) -> str:
        return "comma-separated values" if self._option.several else self._option.kind.__name__


def define_data(values: Flags) -> None:
    """Define the flags that say which data."""
    from glintiqa_jax.training.config import DataConfig

    define_settings(DataConfig, values, "data")


def define_experiment(values: Flags) -> None:
    """Define the flags of a whole experiment, its data among them."""
    from glintiqa_jax.training.config import TrainConfig

    flags.DEFINE_string(
        "recipe", None, f"a whole experiment: {', '.join(recipes.names())}", values, module_name="training"
    )
    define_settings(TrainConfig, values, "training")


def define_report(values: Flags) -> None:
    """Define the flags that say what reports hold."""
    from glintiqa_jax.evaluation.report import ReportOptions

    define_settings(ReportOptions, values, "report")


def report_options(values: Flags) -> ReportOptions:
    """The parsed report flags; ``InputError`` for a baseline that is unknown or not installed."""
    from glintiqa_jax.evaluation.baselines import check_baselines
    from glintiqa_jax.evaluation.report import ReportOptions

    options_ = configured(ReportOptions(command=values.command), values.given(options(ReportOptions)))
    check_baselines(options_.baselines)
    return options_


def data_config(values: Flags, *, dataset: str | None = None) -> DataConfig:
    """The parsed data flags; ``InputError`` names what is refused.

    Args:
      values: the flags.
      dataset: another than ``--dataset``'s, without the flags of "csv" where it is none.
    """
    from glintiqa_jax.training.config import DataConfig

    return configured(DataConfig(), _given_data(values, dataset))


def other_data(values: Flags) -> DataConfig | None:
    """The data flags of a job on a checkpoint; None where none says which data, so that its own are meant.

    Raises:
      InputError: for flags that would do nothing.
    """
    given = _given_data(values, None)
    if "max_short_side" in given:
        raise InputError("images are resized as the checkpoint's were", field="max_short_side", found="another value")
    if given.keys() & {"dataset", "images", "scores"}:
        return data_config(values)
    if without := sorted(given.keys() - {"data_dir"}):
        raise InputError("needs `dataset`, as a checkpoint's own data are as it was trained on them", field=without[0])
    return None


def train_config(values: Flags, *, dataset: str | None = None) -> TrainConfig:
    """The parsed flags as an experiment; arguments and errors as of ``data_config``."""
    from glintiqa_jax.models.glintiqa import VARIANTS
    from glintiqa_jax.training.config import DataConfig, TrainConfig, check_numbers

    given = values.given(options(TrainConfig))
    outside = {name: value for name, value in given.items() if name not in options(DataConfig)}
    data = data_config(values, dataset=dataset)
    if values.variant not in VARIANTS:
        raise InputError(field="variant", expected=f"one of {', '.join(VARIANTS)}", found=repr(values.variant))
    try:
        config = configured(TrainConfig(data=data, model=VARIANTS[values.variant]), outside)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"--model_{error}") from error
    check_numbers(config.model, "model_")
    return config


def _given_data(values: Flags, dataset: str | None) -> dict[str, Any]:
    from glintiqa_jax.training.config import CSV_FIELDS, DataConfig

    given = values.given(options(DataConfig))
    if dataset is not None:
        given["dataset"] = dataset
        if dataset != "csv":
            given = {name: value for name, value in given.items() if name not in CSV_FIELDS}
    return given
