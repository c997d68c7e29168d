"""The whole job: prepare, train, validate as it goes, keep the best, touch the test split once, report."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from glintiqa_jax.data.files import write_json
from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.pipeline import training_batches
from glintiqa_jax.data.source import RatedSource
from glintiqa_jax.data.splits import Split, save_split, split_digest
from glintiqa_jax.errors import UserError, about
from glintiqa_jax.evaluation.peers import check_peers
from glintiqa_jax.evaluation.prediction import Predictions, make_predict, predict_source
from glintiqa_jax.evaluation.report import Evaluated, ReportOptions, write_report
from glintiqa_jax.models.glintiqa import GlintIQA, new_model
from glintiqa_jax.models.pretrained import find_weights
from glintiqa_jax.models.weights import WeightsError, load_backbone
from glintiqa_jax.sharding import check_divides, describe, global_batch, make_mesh
from glintiqa_jax.training import processes
from glintiqa_jax.training.checkpoints import FOLDER as CHECKPOINTS
from glintiqa_jax.training.checkpoints import CheckpointStore, Description, digest, latest_description
from glintiqa_jax.training.config import TrainConfig, to_json
from glintiqa_jax.training.dataset import distortion_names, find_parts, open_source, split_source
from glintiqa_jax.interruptions import noticing_a_full_disk, stop_on_signals
from glintiqa_jax.training.metrics_log import MetricsLog, read_metrics
from glintiqa_jax.training.optimiser import learning_rate_schedule
from glintiqa_jax.training.provenance import commit, provenance
from glintiqa_jax.training.step import Trainer, TrainState
from glintiqa_jax.training.workdir import (
    begun_with,
    changed_surroundings,
    check_same_data,
    check_same_experiment,
    claim,
    finished,
    save_trained_on,
)

_LOOK_EVERY = 25  # steps between two looks at the losses, each of which waits for the device


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
      What ``results.json`` holds; None when a signal (SIGINT, SIGTERM) ended the run after saving.

    Raises:
      UserError: input that cannot be used, before any long work; a ``workdir`` of another experiment; later, a loss
        that is no number, or a full disk.
      LostProcessError: another process of the run has died.
    """
    workdir = Path(workdir).expanduser()
    report = report or ReportOptions()
    check_peers(report.peers)
    with processes.noticing_lost_processes(), noticing_a_full_disk(workdir):
        mesh = make_mesh(config.mesh_data, config.mesh_fsdp)
        check_divides("batch_size", config.batch_size, mesh, parts=config.accumulate)
        check_divides("eval_batch_size", config.eval_batch_size, mesh)
        if config.batch_size % (config.crops_per_image * jax.process_count()):
            raise UserError(
                f"--batch_size: expected a multiple of --crops_per_image={config.crops_per_image} times the "
                f"{jax.process_count()} processes, found {config.batch_size}"
            )
        checkpoints = checkpoint_dir or str(workdir / CHECKPOINTS)
        job = _Job(config, workdir, mesh, checkpoints, allow_config_change, report)
        return job.run(min(config.steps, max_steps or config.steps))


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
            _say(line)
        parts = find_parts(config.data, say=_say)
        first = first_model(config) if is_new else None
        source = processes.first_before_the_others(
            lambda: open_source(config.data, crop_size=config.model.crop_size, parts=parts, say=_say)
        )
        split = split_source(config.data, source, crop_size=config.model.crop_size, say=_say)
        names = source.index.names
        description = Description(
            config, source.scale, source.card["fingerprint"], split_digest(split, names), source.card["max_side"]
        )

        def take_workdir() -> dict[str, Any] | None:
            for theirs in self._begun():
                check_same_data(description, theirs, self._where)
            results = finished(workdir, last_step)
            if results and not other:
                return results
            (workdir / "results.json").unlink(missing_ok=True)  # of fewer steps, or of other flags
            claim(workdir, description)
            save_split(workdir / "split.json", split, names, source.card["name"])
            save_trained_on(workdir, self.checkpoints, source, split, selection=config.selection)
            return None

        if results := processes.by_the_first(take_workdir):
            _say(f"{workdir / 'results.json'}: this run is complete; these are its results")
            return results
        with CheckpointStore(self.checkpoints, description, _say) as store, stop_on_signals() as stop:
            reached = store.latest_step() or 0
            if reached > last_step or (other and reached == last_step):
                raise UserError(
                    f"--steps, --max_steps: expected more than the {reached} steps that the run in {self.checkpoints} "
                    f"has taken already, found {last_step}"
                )
            run = _Run(config, workdir, self.mesh, source, split, store)
            with contextlib.closing(run):
                state = run.train(run.start(first), last_step, stop)
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
            **{name: _plain(part.metrics()) for name, part in predictions.items()},
            "split_sha256": description.split_sha256,
            "params_sha256": params_sha256,
            "commit": commit(),
        }
        if len(source.parts) > 1:
            for name, part in predictions.items():
                by_database = part.metrics_by_database()
                results |= {f"{name} on {database}": _plain(metrics) for database, metrics in by_database.items()}
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
        source: RatedSource | MixedSource,
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


class _Run:
    """Training and prediction, from a prepared source on."""

    def __init__(
        self,
        config: TrainConfig,
        workdir: Path,
        mesh: Mesh,
        source: RatedSource | MixedSource,
        split: Split,
        store: CheckpointStore,
    ):
        self.config, self.workdir, self.mesh = config, workdir, mesh
        self.source, self.split, self.store = source, split, store
        self.trainer = Trainer(config, mesh)
        self._predict = make_predict(self.trainer.graphdef, mesh)
        self._schedule = learning_rate_schedule(config)
        self._log: MetricsLog | None = None
        # the split that says which step is kept, and its images
        by_test = config.selection == "test_best"
        self.watched, self._watched = ("test", split.test) if by_test else ("validation", split.validation)

    def start(self, first: GlintIQA | None) -> TrainState:
        """The state to go on from: the latest checkpoint's, or the first model's."""
        step = self.store.latest_step()
        if step is None:
            state = self.trainer.start_from(first or first_model(self.config))
        else:
            _say(f"going on from step {step}")
            state = self.store.restore(self.trainer.abstract_state, self.trainer.sharding, step=step)
        if processes.is_first():
            self._log = MetricsLog(self.workdir, step or 0)
        return state

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def train(self, state: TrainState, last_step: int, stop: threading.Event) -> TrainState | None:
        """Steps up to ``last_step``, evaluating and saving on the way; None where ``stop`` was set, and saved."""
        config, step = self.config, int(state.step)
        dropout_key = jax.random.fold_in(jax.random.key(config.seed), 1)
        batches = self._batches(step)
        unseen: list[tuple[jax.Array, np.ndarray]] = []  # of the steps since the last look: loss, positions
        mean_loss, stopped = math.nan, False
        total, done = last_step * config.batch_size, step * config.batch_size
        quiet = not processes.is_first()
        with tqdm(total=total, initial=done, desc="training", unit="image", disable=quiet) as bar:
            while step < last_step and not stopped:
                batch = next(batches)
                positions = batch.pop("position")
                state, loss = self.trainer.step(state, global_batch(batch, self.mesh), dropout_key)
                unseen.append((loss, positions))
                step += 1
                evaluate = step % config.eval_every == 0 or step == last_step
                look = evaluate or step % _LOOK_EVERY == 0
                if look:
                    bar.update(len(unseen) * config.batch_size)
                    mean_loss, unseen = self._mean_loss(step, unseen), []
                    self._write({"step": step, "loss": mean_loss, "learning_rate": float(self._schedule(step))})
                    self.store.tend()
                if evaluate:
                    metrics = None
                    if len(self._watched):
                        metrics = self.predict(state, self._watched, "validating").metrics()
                        self._write({"step": step, self.watched: _plain(metrics)})
                    self.store.save(state, metrics)
                if look:
                    best = self._log and self._log.best_srocc(self.watched)
                    said = {f"best_{self.watched}_srocc": "none" if best is None else f"{best:.3f}"}
                    bar.set_postfix(loss=f"{mean_loss:.4f}", **said)
                # alone at any step; several processes agree where they look, as asking each other takes time
                if jax.process_count() == 1 or look:
                    stopped = processes.any_process(stop.is_set()) and step < last_step
        if stopped and step != self.store.latest_step():
            if unseen:
                self._mean_loss(step, unseen)  # nothing is saved that is no number
            self.store.save(state, None)
        self.store.wait()
        if stopped:
            _say(f"stopped at step {step} and saved; the same command goes on from there")
        return None if stopped else state

    def _batches(self, first: int) -> Iterator[dict[str, np.ndarray]]:
        config = self.config
        batches = training_batches(
            self.source,
            self.split.train,
            crop_size=config.model.crop_size,
            batch_size=config.batch_size,
            seed=config.seed,
            crops_per_image=config.crops_per_image,
            vertical_flips=config.vertical_flips,
            first_batch=first,
            process=(jax.process_index(), jax.process_count()),
            on_bad_image=config.data.on_bad_image,
            cache_bytes=config.data.cache_megabytes * 2**20,
            num_workers=config.num_workers,
        )
        return iter(batches)

    def _mean_loss(self, step: int, unseen: list[tuple[jax.Array, np.ndarray]]) -> float:
        """Of the steps up to ``step``; ``UserError`` names the first whose loss is no number, and its images."""
        losses = np.asarray(jax.device_get([loss for loss, _ in unseen]), np.float64)
        for number in np.flatnonzero(~np.isfinite(losses))[:1]:
            names = ", ".join(dict.fromkeys(self.source.index.names[position] for position in unseen[number][1]))
            if jax.process_count() > 1:
                names += " and other processes' images"
            at = step - len(unseen) + number + 1
            last = self.store.latest_step()
            good = "none was saved before" if last is None else f"the last good checkpoint is step {last}'s"
            raise UserError(
                f"the loss or its gradient is no number at step {at}, on {names}; {good}. "
                f"--learning_rate={self.config.learning_rate:g} may be too high, or a score wrong"
            )
        return float(losses.mean())

    def predict(self, state: TrainState, positions: np.ndarray, progress: str) -> Predictions:
        return predict_source(
            lambda crops: self._predict(state.evaluated, state.rest, crops),
            self.source,
            positions,
            scale=self.source.scale,
            crop_size=self.config.model.crop_size,
            grid=self.config.eval_grid,
            crops_at_random=self.config.eval_random_crops,
            seed=self.config.seed,
            batch_size=self.config.eval_batch_size,
            mesh=self.mesh,
            on_bad_image=self.config.data.on_bad_image,
            num_workers=self.config.num_workers,
            progress=progress if processes.is_first() else "",
        )

    def _write(self, row: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(row)


def first_model(config: TrainConfig) -> GlintIQA:
    """What training starts from: new values, and those of ``--backbone_weights`` where there are any.

    Raises:
      UserError: weights that cannot be had, or are another network's.
    """
    model = new_model(config.model, seed=config.seed)
    for name in config.backbone_weights:
        try:
            for path in find_weights(name, config.model, say=_say):
                _say(f"{load_backbone(model, path)} starts from {path}")
        except WeightsError as error:
            raise UserError(about("backbone_weights", name, error)) from error
    return model


def _say(line: str) -> None:
    """One line to the person at the keyboard, by the first process."""
    if processes.is_first():
        tqdm.write(line)


def _plain(metrics: dict[str, float | int]) -> dict[str, float | int | None]:
    """JSON has no NaN: an undefined correlation is null."""
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}
