"""The whole job: train, validate as it goes, keep the best, touch the test split once, report."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath
from flax import nnx
from jax.sharding import Mesh

from glintiqa_jax import settings
from glintiqa_jax.cores import core_each
from glintiqa_jax.data.files import write_json
from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.data.near_duplicates import Look, load_looks, save_looks
from glintiqa_jax.data.paths import is_remote, local_path
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.splits import Split, save_split, split_digest
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.baselines import check_baselines
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.evaluation.prediction import Predictions
from glintiqa_jax.evaluation.report import Evaluated, Training, write_report
from glintiqa_jax.interruptions import Stopped, noticing_a_full_disk
from glintiqa_jax.models.config import describe
from glintiqa_jax.models.glintiqa import GlintIQA
from glintiqa_jax.models.pretrained import FOLDER as MODEL
from glintiqa_jax.progress import TERMINAL, Log
from glintiqa_jax.scoring.card import ModelCard, Origin, TrainedOn, View
from glintiqa_jax.scoring.files import TRAINED_ON, save_model
from glintiqa_jax.scoring.model import Model
from glintiqa_jax.sharding import everywhere, make_mesh
from glintiqa_jax.training import mirror, processes
from glintiqa_jax.training.checking import begun, check_fits, check_source, checkpoints_of, facts
from glintiqa_jax.training.checkpoints import CheckpointStore, digest, latest_description
from glintiqa_jax.training.description import (
    SPLIT,
    Description,
    begun_with,
    check_same_data,
    claim,
    kept_split,
    library_versions,
)
from glintiqa_jax.training.experiment import Execution, Experiment
from glintiqa_jax.training.metrics_log import plain, read_metrics
from glintiqa_jax.training.provenance import commit, provenance
from glintiqa_jax.training.result import RESULTS, Result, finished, read_results
from glintiqa_jax.training.run import Run
from glintiqa_jax.training.start import first_model, licences_of_start, seen_before, unseen
from glintiqa_jax.training.step import TrainState

_MOST_COMPARED = 200_000  # images whose looks are kept, 1 KB each


def train(
    source: Source,
    split: Split,
    experiment: Experiment = Experiment(),
    *,
    execution: Execution = Execution(),
    workdir: str | os.PathLike | None = None,
    mesh: Mesh | None = None,
    report: ReportOptions | None = ReportOptions(),
    log: Log = TERMINAL,
) -> Result:
    """Train, keep the best on validation, test it once, and leave a report.

    Called again with the same arguments it continues where it stopped, and ends with the same figures. Where
    ``jax.distributed`` has joined several processes, all of them call this, and the first one writes.

    Args:
      source: the images and their scores.
      split: the train, validation and test positions.
      experiment: what is trained.
      execution: where and how; no figure depends on it beyond its last digits.
      workdir: where everything goes: ``config.json``, ``split.json``, ``metrics.jsonl``, ``checkpoints/``, ``model/``,
        ``predictions_*.csv``, ``report.md`` and ``report.html`` and, last, ``results.json``. None for a temporary
        folder, which is there as long as the result or its report is; nothing else of it is kept.
      mesh: the devices; None for all of them, as ``execution.devices`` says.
      report: what goes into the report beside the run; None for no report.
      log: where messages go.

    Returns:
      The result.

    Raises:
      InputError: input that cannot be used, before any long work; a ``workdir`` of another experiment; later, a loss
        that is not finite, or a full disk.
      LostProcessError: another process of the run has died.
      Stopped: a signal (SIGINT, SIGTERM) ended the run; between two steps they are saved.
      KeyboardInterrupt: a signal outside of training steps; the same call continues from the last checkpoint.
    """
    if report is not None:
        check_baselines(report.baselines)
    if experiment.objective.target == "raw" and len(source.parts) > 1:
        expected = "'quality' for several databases, whose scores have units of their own"
        raise InputError(field="target", expected=expected, found="'raw'")
    with contextlib.ExitStack() as temporary:
        folder = local_path("workdir", _temporary_folder(temporary) if workdir is None else workdir).absolute()
        with noticing(folder, execution), _sole_user(folder, checkpoints_of(folder, execution)):
            mesh = mesh or make_mesh(execution.devices.mesh_data, execution.devices.mesh_fsdp)
            check_fits(experiment, execution, mesh)
            source = source.resized(experiment.images.max_short_side)
            check_source(source, split, experiment)
            if split.shares_contents:
                processes.tell("warning: the split may have one content in several parts; its figures flatter", log)
            try:
                with core_each():
                    result = _Job(experiment, execution, folder, mesh, report, log).run(source, split)
            except Stopped as stopped:
                resumes = "the same command resumes from the last checkpoint"
                stopped.add_note(resumes if workdir is not None else "without a `workdir`, nothing of it is kept")
                raise
        if workdir is None:
            weakref.finalize(result, temporary.pop_all().close)
    return result


def _temporary_folder(until: contextlib.ExitStack) -> str:
    folder = tempfile.mkdtemp(prefix="glintiqa_")
    until.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextlib.contextmanager
def noticing(workdir: str | os.PathLike, execution: Execution) -> Iterator[None]:
    """Turn what a lost process or a full disk raises, anywhere in a job, into one clear error."""
    folder = local_path("workdir", workdir)
    with processes.ending_together(), noticing_a_full_disk(folder, checkpoints_of(folder, execution)):
        yield


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


class _Job:
    """From a source and its split to the report: what is done once, around a run's training."""

    def __init__(
        self,
        experiment: Experiment,
        execution: Execution,
        workdir: Path,
        mesh: Mesh,
        options: ReportOptions | None,
        log: Log,
    ):
        self.experiment, self.execution, self.workdir, self.mesh = experiment, execution, workdir, mesh
        self.checkpoints, self.options, self.log = checkpoints_of(workdir, execution), options, log

    def run(self, source: Source, split: Split) -> Result:
        experiment, workdir, last_step = self.experiment, self.workdir, self.execution.last_step(self.experiment)
        asked = split_digest(split, source.index.names)
        processes.agree(facts(experiment, self.execution, self.mesh) | {"data": source.identity, "split": asked})
        lines, other, is_new = processes.by_the_first(
            lambda: begun(experiment, self.execution, workdir, self.checkpoints)
        )
        for line in lines:
            processes.tell(line, self.log)
        if processes.by_the_first(lambda: mirror.bring_back(workdir, self.checkpoints)):
            processes.tell(f"{workdir}: restored the run's files from {self.checkpoints}", self.log)
        first = first_model(experiment, self.log) if is_new else None
        card = self._card(source, len(split.train), asked)
        parts = processes.by_the_first(lambda: self._parts(source, split, card))
        split = split.with_parts(*parts)
        description = Description(experiment, self.execution, card, source.origin)

        def take_workdir() -> bool:
            if finished(workdir, last_step) and not other:
                return True
            (workdir / RESULTS).unlink(missing_ok=True)  # of fewer steps, or of another experiment
            claim(workdir, description)
            save_split(workdir / SPLIT, split, source.index.names, source.name)
            self._save_looks(self._looks(source, split))
            mirror.keep(workdir, self.checkpoints)
            return False

        if processes.by_the_first(take_workdir):
            processes.tell(f"{workdir / RESULTS}: this run is complete; these are its results", self.log)
            return self._result(source)
        tell = functools.partial(processes.tell, log=self.log)
        with CheckpointStore(self.checkpoints, description, tell) as store:
            reached = store.latest_step() or 0
            processes.agree({"the latest checkpoint": reached})
            if reached > last_step or (other and reached == last_step):
                raise InputError(
                    field="steps",
                    expected=f"more than the {reached} steps that the run in {self.checkpoints} has taken already",
                    found=last_step,
                )
            run = Run(
                description,
                source,
                split,
                store=store,
                mesh=self.mesh,
                workdir=workdir,
                log=self.log,
            )
            with contextlib.closing(run):
                state = run.train(run.start(lambda: first or first_model(experiment, self.log)), last_step)
                params_sha256 = digest(state)
                # without a split to select on there is no choice to make
                best = processes.by_the_first(store.best_step)
                best_step = last_step if best is None else best
                if best_step != int(state.step):
                    state = store.restore(run.trainer.abstract_state, run.trainer.sharding, step=best_step)
                predictions = {}
                for side, progress in (("validation", "validating the best"), ("test", "testing once")):
                    if len(positions := getattr(split, side)):
                        known = run.evaluated(side, best_step)
                        predictions[side] = known or run.predict(state, positions, progress)
        results = {
            "step": last_step,
            "best_step": best_step,
            "selection": experiment.validation.selection,
            "selection_metric": experiment.validation.selection_metric,
            **{name: plain(part.metrics()) for name, part in predictions.items()},
            "split_sha256": split_digest(split, source.index.names),
            "params_sha256": params_sha256,
            "commit": commit(),
        }
        if len(source.parts) > 1:
            for name, part in predictions.items():
                by_database = part.metrics_by_database()
                results |= {f"{name} on {database}": plain(metrics) for database, metrics in by_database.items()}
        network = _network(run.trainer.graphdef, state)
        model = Model(network, card)
        processes.by_the_first(lambda: self._write(source, split, predictions, results, model))
        return self._result(source)

    def _result(self, source: Source) -> Result:
        """The finished run; the first process alone is sure to have its files."""
        return Result.load(self.workdir, source, processes.by_the_first(lambda: read_results(self.workdir)))

    def _licences(self) -> list[str]:
        """Of what the run started from, as it was then."""

        def found() -> list[str]:
            theirs = latest_description(self.checkpoints) or begun_with(self.workdir)
            return list(theirs.card.origin.licences) if theirs else licences_of_start(self.experiment)

        return processes.by_the_first(found)

    def _parts(self, source: Source, split: Split, card: ModelCard) -> tuple[list[int], list[int]]:
        """Who validates and is tested: as the run began, and in a new one whom its start has not seen."""
        theirs = None
        for theirs, where in (
            (latest_description(self.checkpoints), str(self.checkpoints)),
            (begun_with(self.workdir), str(self.workdir)),
        ):
            check_same_data(card, theirs, where)
        kept = kept_split(self.workdir, split, source.index.names) if theirs is not None else None
        kept = kept or unseen(split, source, self.experiment, self.log)
        return kept.validation.tolist(), kept.test.tolist()

    def _card(self, source: Source, trained: int, split_sha256: str) -> ModelCard:
        experiment = self.experiment
        return ModelCard(
            network=experiment.model,
            scale=source.scale,
            view=View(
                source.max_side,
                experiment.images.max_short_side,
                experiment.validation.eval_grid,
                experiment.validation.eval_random_crops,
                experiment.start.seed,
                experiment.validation.eval_sizes,
            ),
            output=experiment.objective.target,
            trained_on=TrainedOn(source.name, trained, source.identity, split_sha256),
            origin=Origin(
                settings.to_json(experiment),
                library_versions(),
                commit(),
                tuple(dict.fromkeys([*self._licences(), *source.licences])),
            ),
        )

    def _looks(self, source: Source, split: Split) -> list[Look]:
        """The looks of what the start has seen and of images that train or select, each file once.

        No test takes them for new images.
        """
        if (saved := self.workdir / TRAINED_ON).is_file():  # of the start as it was when the run began
            return load_looks(saved)
        looks = source.looks()
        positions = np.concatenate([split.train, split.validation, getattr(split, self.experiment.validation.watched)])
        known = [*seen_before(self.experiment), *(looks[position] for position in positions)]
        different = list({look.digest: look for look in known}.values())
        return different if len(different) <= _MOST_COMPARED else []

    def _save_looks(self, looks: list[Look]) -> None:
        """Into the workdir, and beside the checkpoints where they are elsewhere."""
        if not looks:
            return
        save_looks(self.workdir / TRAINED_ON, looks)
        if mirror.is_elsewhere(self.workdir, self.checkpoints):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            (self.checkpoints / TRAINED_ON).write_bytes((self.workdir / TRAINED_ON).read_bytes())

    def _write(
        self,
        source: Source,
        split: Split,
        predictions: dict[str, Predictions],
        results: dict[str, Any],
        model: Model,
    ) -> None:
        for name, part in predictions.items():
            part.write_csv(self.workdir / f"predictions_{name}.csv")
        validated = predictions.get("validation")
        held_out = None
        if validated is not None:
            held_out = (validated.predicted, validated.target, validated.crop_deviation)
        model.card, model.looks = model.card.with_results(results, held_out), self._looks(source, split)
        save_model(model, self.workdir / MODEL)
        if self.options is not None:
            self._report(source, split, predictions, results)
        write_json(self.workdir / RESULTS, results)
        mirror.keep(self.workdir, self.checkpoints)

    def _report(
        self, source: Source, split: Split, predictions: dict[str, Predictions], results: dict[str, Any]
    ) -> None:
        assert self.options is not None
        training = Training(
            title=describe(self.experiment.model),
            loss=self.experiment.objective.loss_name,
            history=read_metrics(self.workdir),
            trained=split.train,
            split=results["split_sha256"],
            step=results["step"],
            best_step=results["best_step"],
            selection=results["selection"],
            selection_metric=results["selection_metric"],
        )
        evaluated = {name: Evaluated(source, part) for name, part in predictions.items()}
        write_report(self.workdir, training, evaluated, provenance(self.options.command), options=self.options)


def _network(graphdef: nnx.GraphDef, state: TrainState) -> GlintIQA:
    """The network of a state, its arrays on the host. Every process must call this."""
    params, rest = jax.tree.map(everywhere, (state.evaluated, state.rest))
    return nnx.merge(graphdef, params, rest)
