"""The whole job: prepare, train, validate as it goes, keep the best, touch the test split once, report."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from etils import epath
from jax.sharding import Mesh

from glintiqa_jax.data.files import write_json
from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.data.paths import is_remote, local_path
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.splits import Split, save_split, split_digest
from glintiqa_jax.datasets.opening import distortion_names, find_parts, open_data, split_data
from glintiqa_jax.errors import UserError, about
from glintiqa_jax.evaluation.baselines import check_baselines
from glintiqa_jax.evaluation.prediction import Predictions
from glintiqa_jax.evaluation.report import Evaluated, ReportOptions, write_report
from glintiqa_jax.interruptions import noticing_a_full_disk
from glintiqa_jax.models.glintiqa import GlintIQA, new_model
from glintiqa_jax.models.pretrained import find_weights
from glintiqa_jax.models.weights import WeightsError, load_backbone
from glintiqa_jax.sharding import check_divides, describe, make_mesh
from glintiqa_jax.training import processes
from glintiqa_jax.training.checkpoints import FOLDER as CHECKPOINTS
from glintiqa_jax.training.checkpoints import CheckpointStore, Description, digest, latest_description
from glintiqa_jax.training.config import TrainConfig, to_json
from glintiqa_jax.training.metrics_log import plain, read_metrics
from glintiqa_jax.training.provenance import commit, provenance
from glintiqa_jax.training.run import Run
from glintiqa_jax.training.step import Trainer
from glintiqa_jax.training.storage import place
from glintiqa_jax.training.workdir import (
    begun_with,
    changed_surroundings,
    check_same_data,
    check_same_experiment,
    claim,
    finished,
    save_trained_on,
)


def train_and_evaluate(
    config: TrainConfig,
    workdir: str | os.PathLike,
    *,
    max_steps: int | None = None,
    checkpoint_dir: str | None = None,
    allow_config_change: bool = False,
    report: ReportOptions | None = None,
) -> dict[str, Any] | None:
    """Train, keep the best on validation, test it once, and leave a report.

    Run again with the same arguments it goes on where it stopped, and ends with the same figures. Where
    ``jax.distributed`` has joined several processes, all of them call this, and the first one writes.

    Args:
      config: the experiment.
      workdir: where everything goes: ``config.json``, ``split.json``, ``metrics.jsonl``, ``checkpoints/``,
        ``predictions_*.csv``, ``report.md`` and ``report.html`` and, last, ``results.json``.
      max_steps: end after this many steps, evaluation and results included; the schedule is still the whole run's.
      checkpoint_dir: where checkpoints go instead: a folder that all processes see, or ``gs://...``.
      allow_config_change: go on with a run that another configuration has begun.
      report: what goes into the report beside the run.

    Returns:
      What ``results.json`` holds; None when a signal (SIGINT, SIGTERM) ended the run between two steps, after saving.

    Raises:
      UserError: input that cannot be used, before any long work; a ``workdir`` of another experiment; later, a loss
        that is no number, or a full disk.
      LostProcessError: another process of the run has died.
      KeyboardInterrupt: a signal in anything else than training; the same call goes on from the last checkpoint.
    """
    workdir = local_path("workdir", workdir)
    report = report or ReportOptions()
    check_baselines(report.baselines)
    checkpoints = place(checkpoint_dir, "checkpoint_dir") if checkpoint_dir else place(workdir, "workdir") / CHECKPOINTS
    with (
        processes.noticing_lost_processes(),
        noticing_a_full_disk(workdir, checkpoints),
        _sole_user(workdir, checkpoints),
    ):
        mesh = make_mesh(config.mesh_data, config.mesh_fsdp)
        check_divides("batch_size", config.batch_size, mesh, parts=config.accumulate)
        check_divides("eval_batch_size", config.eval_batch_size, mesh)
        if config.batch_size % (config.crops_per_image * jax.process_count()):
            raise UserError(
                f"--batch_size: expected a multiple of --crops_per_image={config.crops_per_image} times the "
                f"{jax.process_count()} processes, found {config.batch_size}"
            )
        _check_memory(config)
        job = _Job(config, workdir, mesh, str(checkpoints), allow_config_change, report)
        return job.run(min(config.steps, max_steps or config.steps))


@contextlib.contextmanager
def _sole_user(workdir: Path, checkpoints: epath.Path) -> Iterator[None]:
    """Hold a run's folders against other runs; its processes are one owner, for which the first one answers."""
    with contextlib.ExitStack() as held:

        def hold() -> None:
            held.enter_context(sole_user(workdir, "workdir"))
            if not is_remote(checkpoints):
                held.enter_context(sole_user(Path(checkpoints), "checkpoint_dir"))

        processes.by_the_first(hold)
        yield


def _check_memory(config: TrainConfig) -> None:
    """``UserError`` for batches whose images alone are more than this machine's memory."""
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    crop = 3 * config.model.crop_size**2  # bytes
    crops = config.eval_random_crops or config.eval_grid**2
    for flags, count in (
        (f"--batch_size={config.batch_size}", config.batch_size),
        (f"--eval_batch_size={config.eval_batch_size} of {crops} crops each", config.eval_batch_size * crops),
    ):
        if (needed := count * crop // jax.process_count()) > room:
            raise UserError(
                f"{flags}: expected a batch that fits into memory, found images of {needed / 1e9:.1f} GB on a machine "
                f"of {room / 1e9:.1f} GB"
            )


def sharding_table(config: TrainConfig) -> str:
    """A table of how each array of the train state is laid out over all devices; nothing is allocated."""
    trainer = Trainer(config, make_mesh(config.mesh_data, config.mesh_fsdp))
    return describe(trainer.abstract_state, trainer.sharding)


class _Job:
    """From the flags to the report: what is done once, around a run's training."""

    def __init__(
        self,
        config: TrainConfig,
        workdir: Path,
        mesh: Mesh,
        checkpoints: str,
        allow_config_change: bool,
        report: ReportOptions,
    ):
        self.config, self.workdir, self.mesh, self.checkpoints = config, workdir, mesh, checkpoints
        self._allowed, self._options = allow_config_change, report
        self._where = f"--workdir={workdir}"

    def run(self, last_step: int) -> dict[str, Any] | None:
        config, workdir = self.config, self.workdir
        changes, other, is_new = processes.by_the_first(self._check_begun)
        for line in changes:
            processes.tell(line)
        bad, say = config.on_bad_image, processes.tell
        parts = find_parts(config.data, on_bad_image=bad, say=say)
        first = first_model(config) if is_new else None
        source = processes.first_before_the_others(
            lambda: open_data(config.data, on_bad_image=bad, parts=parts, say=say).resized(config.max_short_side)
        )
        split = split_data(config.data.split, source, smallest=config.model.crop_size, on_bad_image=bad, say=say)
        names = source.index.names
        description = Description(config, source.scale, source.identity, split_digest(split, names), source.max_side)

        def take_workdir() -> dict[str, Any] | None:
            for theirs in self._begun():
                check_same_data(description, theirs, self._where)
            results = finished(workdir, last_step)
            if results and not other:
                return results
            (workdir / "results.json").unlink(missing_ok=True)  # of fewer steps, or of other flags
            claim(workdir, description)
            save_split(workdir / "split.json", split, names, source.name)
            save_trained_on(workdir, self.checkpoints, source, split, selection=config.selection)
            return None

        if results := processes.by_the_first(take_workdir):
            processes.tell(f"{workdir / 'results.json'}: this run is complete; these are its results")
            return results
        with CheckpointStore(self.checkpoints, description, processes.tell) as store:
            reached = store.latest_step() or 0
            if reached > last_step or (other and reached == last_step):
                raise UserError(
                    f"--steps, --max_steps: expected more than the {reached} steps that the run in {self.checkpoints} "
                    f"has taken already, found {last_step}"
                )
            run = Run(config, workdir, self.mesh, source, split, store)
            with contextlib.closing(run):
                state = run.train(run.start(lambda: first or first_model(config)), last_step)
            if state is None:
                return None
            params_sha256 = digest(state)
            # without a split to select on there is no choice to make
            best_step = store.best_step() or last_step
            if best_step != int(state.step):
                state = store.restore(run.trainer.abstract_state, run.trainer.sharding, step=best_step)
            predictions = {}
            if len(split.validation):
                predictions["validation"] = run.predict(state, split.validation, "validating the best")
            if len(split.test):
                predictions["test"] = run.predict(state, split.test, "testing once")
        results = {
            "step": last_step,
            "best_step": best_step,
            "selection": config.selection,
            **{name: plain(part.metrics()) for name, part in predictions.items()},
            "split_sha256": description.split_sha256,
            "params_sha256": params_sha256,
            "commit": commit(),
        }
        if len(source.parts) > 1:
            for name, part in predictions.items():
                by_database = part.metrics_by_database()
                results |= {f"{name} on {database}": plain(metrics) for database, metrics in by_database.items()}
        processes.by_the_first(lambda: self._report(source, split, predictions, results))
        return results

    def _begun(self) -> list[Description | None]:
        """What the workdir's run began with, and what the checkpoints' did, whose folder may be another's."""
        return [begun_with(self.workdir), latest_description(self.checkpoints)]

    def _check_begun(self) -> tuple[list[str], bool, bool]:
        """What to say of a run that is there, whether it is another experiment's, and whether none is."""
        in_workdir, in_checkpoints = self._begun()
        lines, other = check_same_experiment(self.config, in_workdir, self._where, allowed=self._allowed)
        more, another = check_same_experiment(self.config, in_checkpoints, self.checkpoints, allowed=self._allowed)
        lines += [line for line in more if line not in lines]
        if in_checkpoints is not None:
            lines += changed_surroundings(in_checkpoints)
        return lines, other or another, in_checkpoints is None

    def _report(
        self,
        source: Source,
        split: Split,
        predictions: dict[str, Predictions],
        results: dict[str, Any],
    ) -> None:
        for name, part in predictions.items():
            part.write_csv(self.workdir / f"predictions_{name}.csv")
        names = distortion_names(source)
        write_report(
            self.workdir,
            evaluated={name: Evaluated(source, part, names) for name, part in predictions.items()},
            train=split.train,
            history=read_metrics(self.workdir),
            results=results,
            config=to_json(self.config),
            provenance=provenance(),
            options=self._options,
        )
        write_json(self.workdir / "results.json", results)


def first_model(config: TrainConfig) -> GlintIQA:
    """What training starts from: new values, and those of ``--backbone_weights`` where there are any.

    Raises:
      UserError: weights that cannot be had, or are another network's.
    """
    model = new_model(config.model, seed=config.seed)
    for name in config.backbone_weights:
        try:
            for path in find_weights(name, config.model, say=processes.tell):
                processes.tell(f"{load_backbone(model, path)} starts from {path}")
        except WeightsError as error:
            raise UserError(about("backbone_weights", name, error)) from error
    return model
