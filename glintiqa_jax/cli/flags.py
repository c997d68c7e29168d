"""Settings as absl flags, parsed flags as configurations, and the fields of errors as the flags they are.

Each call of a job has its own ``Flags``; nothing of them remains afterwards.
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
    from glintiqa_jax.data.loading import Loading
    from glintiqa_jax.datasets.config import DataConfig
    from glintiqa_jax.evaluation.config import ReportOptions
    from glintiqa_jax.protocols.runs import Running, Task
    from glintiqa_jax.training.experiment import Execution, Experiment


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
        """A field as the user knows it: its flag, whatever its group, or the field itself if it has no flag."""
        setting = field.rpartition(".")[2]
        name = self.names.get(setting, setting)
        return f"--{name}" if name in self or setting in self.names else field

    def given(self, names: Iterable[str]) -> dict[str, Any]:
        """The values of the given ones among these flags."""
        return {name: self[name].value for name in names if self[name].present}


def define_settings(config: type, values: Flags, title: str) -> None:
    """Define a flag for each option of a configuration's class.

    Args:
      config: the class.
      values: where they are defined.
      title: what the help calls those that are in no group.
    """
    known = {name: option for name, option in options(config).items() if name not in values}  # one flag for both
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
    """Define the flags of the data and of how they are loaded."""
    from glintiqa_jax.data.loading import Loading
    from glintiqa_jax.datasets.config import DataConfig

    define_settings(DataConfig, values, "data")
    define_settings(Loading, values, "loading")


def define_experiment(values: Flags) -> None:
    """Define the flags of an experiment, of its data and of its execution."""
    from glintiqa_jax.datasets.config import DataConfig
    from glintiqa_jax.models.config import VARIANTS
    from glintiqa_jax.training.experiment import Execution, Experiment

    title = "training"
    flags.DEFINE_string("recipe", None, f"a whole experiment: {', '.join(recipes.names())}", values, module_name=title)
    flags.DEFINE_enum(
        "variant", recipes.VARIANT, tuple(VARIANTS), "a network, of which --model_... change parts", values, title
    )
    for config, called in ((DataConfig, "data"), (Experiment, title), (Execution, "execution")):
        define_settings(config, values, called)


def define_processes(values: Flags) -> None:
    """Define the flags by which several processes are one."""
    title = "processes"
    flags.DEFINE_enum(
        "distributed",
        "off",
        ["off", "auto"],
        "'auto': find the other processes as TPU pods, Slurm or Open MPI name them",
        values,
        title,
    )
    flags.DEFINE_string(
        "coordinator_address", "", "HOST:PORT of the first of several processes", values, module_name=title
    )
    for name, default, text in (
        ("num_processes", 0, "how many processes there are, with --coordinator_address"),
        ("process_id", -1, "this process's number from 0, with --coordinator_address"),
    ):
        flags.DEFINE_integer(name, default, text, flag_values=values, module_name=title)


def connect(values: Flags) -> None:
    """Find the other processes, as the parsed flags say."""
    from glintiqa_jax.training import processes

    processes.connect(values.distributed, values.coordinator_address, values.num_processes, values.process_id)


def define_report(values: Flags) -> None:
    """Define the flags of reports."""
    from glintiqa_jax.evaluation.config import ReportOptions

    define_settings(ReportOptions, values, "report")


def report_options(values: Flags) -> ReportOptions:
    """The parsed report flags; ``InputError`` for a baseline that is unknown or not installed."""
    from glintiqa_jax.evaluation.baselines import check_baselines
    from glintiqa_jax.evaluation.config import ReportOptions

    parsed = configured(ReportOptions(command=values.command), values.given(options(ReportOptions)))
    check_baselines(parsed.baselines)
    return parsed


def data_config(values: Flags, *, dataset: str | None = None) -> DataConfig:
    """The parsed data flags; ``InputError`` names what is refused.

    Args:
      values: the flags.
      dataset: instead of ``--dataset``; unless it is "csv", the flags of "csv" are ignored.
    """
    from glintiqa_jax.datasets.config import OWN, DataConfig, OwnImages

    given = values.given(options(DataConfig))
    if dataset is not None:
        own = options(OwnImages)
        given = {name: value for name, value in given.items() if dataset == OWN or name not in own}
        given["dataset"] = dataset
    return configured(DataConfig(), given)


def other_data(values: Flags) -> DataConfig | None:
    """The data flags of a job on a model; None when no flag names data, which means the model's own.

    Raises:
      InputError: for flags that would do nothing.
    """
    from glintiqa_jax.datasets.config import DataConfig

    given = values.given(options(DataConfig))
    if given.keys() & {"dataset", "images", "scores"}:
        return data_config(values)
    if without := sorted(given.keys() - {"data_dir"}):
        raise InputError(
            "needs `dataset`: a model's own data are opened as they were for its training", field=without[0]
        )
    return None


def loading(values: Flags) -> Loading:
    """The parsed loading flags."""
    from glintiqa_jax.data.loading import Loading

    return configured(Loading(), values.given(options(Loading)))


def experiment_of(values: Flags) -> Experiment:
    """The parsed flags as an experiment; ``InputError`` names what is refused."""
    from glintiqa_jax.models.config import VARIANTS
    from glintiqa_jax.training.experiment import Experiment

    return configured(Experiment(model=VARIANTS[values.variant]), values.given(options(Experiment)))


def execution_of(values: Flags) -> Execution:
    """The parsed execution flags."""
    from glintiqa_jax.training.experiment import Execution

    return configured(Execution(), values.given(options(Execution)))


def task_of(values: Flags, running: Running) -> Task:
    """The source that the parsed flags name, opened, and what is trained on it."""
    data, experiment = data_config(values), experiment_of(values)
    from glintiqa_jax.datasets.opening import open_data
    from glintiqa_jax.protocols.runs import Task

    source = open_data(data, on_bad_image=running.execution.loading.on_bad_image, say=values.log.tell)
    return Task(source, experiment, data.split)


def running_of(values: Flags) -> Running:
    """The parsed execution and report flags, for a protocol."""
    from glintiqa_jax.protocols.runs import Running

    return Running(execution_of(values), report=report_options(values), log=values.log)
