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
from glintiqa_jax.data.files import write_json
from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.data.near_duplicates import Look, save_looks
from glintiqa_jax.data.paths import is_remote, local_path
from glintiqa_jax.data.pipeline import group_of
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.splits import Split, save_split, split_digest
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.baselines import check_baselines
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.evaluation.metrics import METRICS
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
from glintiqa_jax.scoring.storage import FOLDER as CHECKPOINTS
from glintiqa_jax.scoring.storage import place
from glintiqa_jax.sharding import check_divides, describe_sharding, describe_step, everywhere, make_mesh, share
from glintiqa_jax.training import mirror, processes, storage
from glintiqa_jax.training.checkpoints import CheckpointStore, digest, latest_description
from glintiqa_jax.training.description import (
    Description,
    begun_with,
    changed_surroundings,
    check_same_data,
    check_same_experiment,
    claim,
    library_versions,
)
from glintiqa_jax.training.experiment import Execution, Experiment
from glintiqa_jax.training.metrics_log import plain, read_metrics
from glintiqa_jax.training.provenance import commit, provenance
from glintiqa_jax.training.result import RESULTS, Result, finished
from glintiqa_jax.training.run import Run
from glintiqa_jax.training.start import check_start, first_model, licences_of_start, seen_before, unseen
from glintiqa_jax.training.step import Trainer, TrainState

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
      Stopped: a signal (SIGINT, SIGTERM) ended the run between two steps, after saving.
      KeyboardInterrupt: a signal outside of training steps; the same call continues from the last checkpoint.
    """
    if report is not None:
        check_baselines(report.baselines)
    if experiment.objective.target == "raw" and len(source.parts) > 1:
        expected = "'quality' for several databases, whose scores have units of their own"
        raise InputError(field="target", expected=expected, found="'raw'")
    with contextlib.ExitStack() as temporary:
        folder = local_path("workdir", _temporary_folder(temporary) if workdir is None else workdir)
        with noticing(folder, execution), _sole_user(folder, _checkpoints(folder, execution)):
            mesh = mesh or make_mesh(execution.devices.mesh_data, execution.devices.mesh_fsdp)
            check_fits(experiment, execution, mesh)
            source = source.resized(experiment.images.max_short_side)
            check_source(source, split, experiment)
            if split.shares_contents:
                processes.tell("warning: the split may have one content in several parts; its figures flatter", log)
            try:
                result = _Job(experiment, execution, folder, mesh, report, log).run(source, split)
            except Stopped as stopped:
                resumes = "it is saved; the same command resumes from there"
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
    with processes.ending_together(), noticing_a_full_disk(folder, _checkpoints(folder, execution)):
        yield


def check(workdir: str | os.PathLike, experiment: Experiment, execution: Execution, mesh: Mesh) -> None:
    """``InputError`` for what ``train`` refuses whatever the source; cheap, to be called before data are prepared.

    Every process must call this.
    """
    folder = local_path("workdir", workdir)
    check_fits(experiment, execution, mesh)
    checkpoints = _checkpoints(folder, execution)

    def check_begun() -> bool:
        for theirs, where in ((begun_with(folder), folder), (latest_description(checkpoints), checkpoints)):
            check_same_experiment(experiment, execution, theirs, str(where))
        return theirs is None

    processes.agree(_facts(experiment, execution, mesh))
    storage.check_shared(checkpoints)
    if processes.by_the_first(check_begun):
        check_start(experiment)


def _facts(experiment: Experiment, execution: Execution, mesh: Mesh) -> dict[str, Any]:
    """What all processes of a run must have in common, before there are data."""
    here = {f"loading.{name}" for name in ("num_workers", "cache_megabytes")}
    chosen = settings.flat(settings.to_json(experiment)) | settings.flat(settings.to_json(execution))
    shared = {name: value for name, value in chosen.items() if name not in here}
    return shared | {"devices": dict(mesh.shape)} | library_versions()


def _checkpoints(folder: Path, execution: Execution) -> epath.Path:
    elsewhere = execution.saving.checkpoint_dir
    return place(elsewhere, "checkpoint_dir") if elsewhere else place(folder, "workdir") / CHECKPOINTS


def check_fits(experiment: Experiment, execution: Execution, mesh: Mesh) -> None:
    """``InputError`` for batches that do not divide over devices and processes, or do not fit into memory."""
    images, (_, count) = experiment.images, share(mesh)
    check_divides("batch_size", images.batch_size, mesh, parts=images.accumulate)
    check_divides("eval_batch_size", execution.eval_batch_size, mesh)
    rows, every = images.rows_per_group, images.ranked_every
    if images.batch_size % (rows * count):
        expected = f"a multiple of the {rows} crops that {group_of(every)}, times {count} processes or devices"
        raise InputError(field="batch_size", expected=expected, found=images.batch_size)
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    crop = 3 * experiment.model.crop_size**2  # bytes
    crops = experiment.validation.eval_random_crops or experiment.validation.eval_grid**2
    for field, size, each in (
        ("batch_size", images.batch_size, 1),
        ("eval_batch_size", execution.eval_batch_size, crops),
    ):
        if (needed := size * each * crop // jax.process_count()) > room:
            raise InputError(
                field=field,
                value=size,
                expected="a batch that fits into memory",
                found=f"images of {needed / 1e9:.1f} GB on a machine of {room / 1e9:.1f} GB",
            )


def check_source(source: Source, split: Split, experiment: Experiment) -> None:
    """``InputError`` for images, or a split of them, that an experiment cannot be trained or selected on."""
    split.check(source.index.names, source.index.groups)
    if not len(split.train):
        raise InputError(field="split", expected="images to train on", found="none")
    if experiment.validation.selection == "test_best" and not len(split.test):
        raise InputError(field="selection", value="test_best", expected="a test split to select on", found="none")
    metric, watched = experiment.validation.selection_metric, getattr(split, experiment.validation.watched)
    if METRICS[metric].needs_std and not np.isfinite(source.index.score_stds[watched]).all():
        raise InputError(
            field="selection_metric",
            value=metric,
            expected="standard deviations of the scores of all images that select",
            found="images without",
        )
    crop_size = experiment.model.crop_size
    used, sizes = np.concatenate([split.train, split.validation, split.test]), source.sizes()
    small = used[sizes[used].min(axis=1) < crop_size]
    if len(small):
        height, width = sizes[small[0]]
        raise InputError(
            field="model.crop_size",
            expected="a crop that fits into every image of the split",
            found=f"{crop_size} pixels and {source.index.names[small[0]]} of {width}x{height}",
            hint="leave such images out of the split, or shrink images less (`max_short_side`)",
        )


def sharding_table(experiment: Experiment, mesh: Mesh) -> str:
    """A table of how each array of the train state is laid out over all devices, and the bytes of a step.

    Nothing is allocated.
    """
    trainer = Trainer(experiment, mesh)
    state, shardings = trainer.abstract_state, trainer.sharding
    batch = experiment.images.batch_size * 3 * experiment.model.crop_size**2
    step = describe_step(state.params, shardings.params, mesh, batch)
    return f"{describe_sharding(state, shardings)}\n\n{step}"


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
        self.checkpoints, self.options, self.log = _checkpoints(workdir, execution), options, log
        self._seen = seen_before(experiment)

    def run(self, source: Source, split: Split) -> Result:
        experiment, workdir, last_step = self.experiment, self.workdir, self.execution.last_step(self.experiment)
        processes.agree(
            _facts(experiment, self.execution, self.mesh)
            | {"data": source.identity, "split": split_digest(split, source.index.names)}
        )
        if processes.by_the_first(lambda: mirror.bring_back(workdir, self.checkpoints)):
            processes.tell(f"{workdir}: what the run has said so far is back from {self.checkpoints}", self.log)
        lines, other, is_new = processes.by_the_first(self._check_begun)
        for line in lines:
            processes.tell(line, self.log)
        split = unseen(split, source, self._seen, self.log)
        first = first_model(experiment, self.log) if is_new else None
        description = Description(experiment, self.execution, self._card(source, split), source.origin)

        def take_workdir() -> bool:
            for theirs, where in self._begun():
                check_same_data(description, theirs, where)
            if finished(workdir, last_step) and not other:
                return True
            (workdir / RESULTS).unlink(missing_ok=True)  # of fewer steps, or of another experiment
            claim(workdir, description)
            save_split(workdir / "split.json", split, source.index.names, source.name)
            self._save_looks(self._looks(source, split))
            mirror.keep(workdir, self.checkpoints)
            return False

        if processes.by_the_first(take_workdir):
            processes.tell(f"{workdir / RESULTS}: this run is complete; these are its results", self.log)
            return Result.load(workdir, source)
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
            best_step = processes.by_the_first(store.best_step) or last_step
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
        processes.by_the_first(lambda: self._write(source, split, predictions, results, network))
        return Result.load(workdir, source)

    def _card(self, source: Source, split: Split) -> ModelCard:
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
            ),
            output=experiment.objective.target,
            trained_on=TrainedOn(
                source.name, len(split.train), source.identity, split_digest(split, source.index.names)
            ),
            origin=Origin(
                settings.to_json(experiment),
                library_versions(),
                commit(),
                tuple(dict.fromkeys([*licences_of_start(experiment), *source.licences])),
            ),
        )

    def _begun(self) -> list[tuple[Description | None, str]]:
        """The descriptions that the workdir's run and the checkpoints' run began with; their folders may differ."""
        return [
            (begun_with(self.workdir), str(self.workdir)),
            (latest_description(self.checkpoints), str(self.checkpoints)),
        ]

    def _check_begun(self) -> tuple[list[str], bool, bool]:
        """Messages about an existing run, whether it is another experiment's, and whether there is none."""
        lines: list[str] = []
        other = False
        for theirs, where in self._begun():
            more, differs = check_same_experiment(self.experiment, self.execution, theirs, where)
            lines += [line for line in more if line not in lines]
            other = other or differs
        if theirs is not None:
            lines += changed_surroundings(theirs)
        return lines, other, theirs is None

    def _looks(self, source: Source, split: Split) -> list[Look]:
        """The looks of what the start has seen and of images that train or select, each file once.

        No test takes them for new images.
        """
        looks = source.looks()
        positions = np.concatenate([split.train, split.validation, getattr(split, self.experiment.validation.watched)])
        known = [*self._seen, *(looks[position] for position in positions)]
        different = list({look.digest: look for look in known}.values())
        return different if len(different) <= _MOST_COMPARED else []

    def _save_looks(self, looks: list[Look]) -> None:
        """Into the workdir, and beside the checkpoints where they are elsewhere."""
        if not looks:
            return
        save_looks(self.workdir / TRAINED_ON, looks)
        if self.checkpoints.parent != epath.Path(self.workdir):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            (self.checkpoints / TRAINED_ON).write_bytes((self.workdir / TRAINED_ON).read_bytes())

    def _write(
        self,
        source: Source,
        split: Split,
        predictions: dict[str, Predictions],
        results: dict[str, Any],
        network: GlintIQA,
    ) -> None:
        for name, part in predictions.items():
            part.write_csv(self.workdir / f"predictions_{name}.csv")
        validated = predictions.get("validation")
        held_out = None
        if validated is not None:
            held_out = (validated.predicted, validated.target, validated.crop_deviation)
        card = self._card(source, split).with_results(results, held_out)
        save_model(Model(network, card, looks=self._looks(source, split)), self.workdir / MODEL)
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
