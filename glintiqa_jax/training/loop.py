"""The whole job: prepare, train, validate as it goes, keep the best, touch the test split once, report."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from glintiqa_jax.data.files import write_json, write_text
from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.pipeline import training_batches
from glintiqa_jax.data.source import RatedSource
from glintiqa_jax.data.splits import Split, save_split, split_digest
from glintiqa_jax.errors import UserError, about
from glintiqa_jax.evaluation.prediction import Predictions, make_predict, predict_source
from glintiqa_jax.evaluation.report import write_report
from glintiqa_jax.models.glintiqa import GlintIQA, new_model
from glintiqa_jax.models.pretrained import find_weights
from glintiqa_jax.models.weights import WeightsError, load_backbone
from glintiqa_jax.sharding import batch_sharding, check_divides, make_mesh
from glintiqa_jax.training.checkpoints import FOLDER as CHECKPOINTS
from glintiqa_jax.training.checkpoints import CheckpointStore, Description, digest
from glintiqa_jax.training.config import TrainConfig, differences, from_json, to_json
from glintiqa_jax.training.dataset import find_parts, open_source, split_source
from glintiqa_jax.training.optimiser import learning_rate_schedule
from glintiqa_jax.training.step import Trainer, TrainState

_LOG_EVERY = 25  # steps between two looks at the loss, each of which waits for the device
# Where records are and what is kept in memory changes no figure, so a run may go on with other values.
_NO_PART_OF_THE_EXPERIMENT = ("data.data_dir:", "data.cache_megabytes:")


def train_and_evaluate(
    config: TrainConfig, workdir: str | os.PathLike, *, max_steps: int | None = None
) -> dict[str, Any] | None:
    """Train, keep the best on validation, test it once, and leave a report.

    Run again with the same arguments it goes on where it stopped, and ends with the same figures.

    Args:
      config: the experiment.
      workdir: where everything goes: ``config.json``, ``split.json``, ``metrics.jsonl``, ``checkpoints/``,
        ``predictions_*.csv``,         ``report.md`` with its plots and, last, ``results.json``.
      max_steps: end after this many steps, evaluation and results included; the schedule is still the whole run's.

    Returns:
      What ``results.json`` holds; None when a signal (SIGINT, SIGTERM) ended the run after saving.

    Raises:
      UserError: input that cannot be used, before any long work; a ``workdir`` of another experiment.
    """
    workdir = Path(workdir).expanduser()
    mesh = make_mesh(config.mesh_data, config.mesh_fsdp)
    check_divides("batch_size", config.batch_size, mesh)
    check_divides("eval_batch_size", config.eval_batch_size, mesh)
    _check_same_experiment(config, workdir)
    last_step = min(config.steps, max_steps or config.steps)
    parts = find_parts(config.data)
    first = None if (workdir / CHECKPOINTS).exists() else _first_model(config)
    source = open_source(config.data, crop_size=config.model.crop_size, parts=parts, say=tqdm.write)
    split = split_source(config.data, source, crop_size=config.model.crop_size, say=tqdm.write)
    split_sha256 = split_digest(split, source.index.names)
    fingerprint, max_side = source.card["fingerprint"], source.card["max_side"]
    description = Description(config, source.scale, fingerprint, split_sha256, max_side)
    _claim_workdir(workdir, description)
    save_split(workdir / "split.json", split, source.index.names, source.card["name"])
    if finished := _finished(workdir, last_step):
        return finished

    run = _Run(config, workdir, mesh, source, split)
    with contextlib.closing(CheckpointStore(workdir, description)) as store, _stop_on_signals() as stop:
        state, iterator = run.start(store, first)
        state = run.train(state, iterator, store, last_step, stop)
        if stop.is_set():
            tqdm.write(f"stopped at step {int(state.step)} and saved; the same command goes on from there")
            return None
        params_sha256 = digest(state)
        # without a validation split there is no choice to make
        best_step = store.best_step() or last_step
        if best_step != int(state.step):
            state = store.restore(run.trainer.abstract_state, run.trainer.sharding, None, step=best_step)
        predictions = {}
        if len(split.validation):
            predictions["validation"] = run.predict(state, split.validation, "validating the best")
        predictions["test"] = run.predict(state, split.test, "testing once")
        store.wait()
    results = {
        "step": last_step,
        "best_step": best_step,
        **{name: _plain(part.metrics()) for name, part in predictions.items()},
        "split_sha256": split_sha256,
        "params_sha256": params_sha256,
    }
    for name, part in predictions.items():
        if len(source.parts) > 1:
            by_database = part.metrics_by_database()
            results |= {f"{name} on {database}": _plain(metrics) for database, metrics in by_database.items()}
        part.write_csv(workdir / f"predictions_{name}.csv")
    write_report(
        workdir,
        source=source,
        predictions=predictions["test"],
        history=_read_metrics(workdir / "metrics.jsonl"),
        results=results,
        config=to_json(config),
    )
    write_json(workdir / "results.json", results)
    return results


class _Run:
    """What stays the same for the length of a run."""

    def __init__(self, config: TrainConfig, workdir: Path, mesh: Any, source: RatedSource | MixedSource, split: Split):
        self.config, self.workdir, self.mesh, self.source, self.split = config, workdir, mesh, source, split
        self.trainer = Trainer(config, mesh)
        self._predict = make_predict(self.trainer.graphdef, mesh)
        self._schedule = learning_rate_schedule(config)

    def start(self, store: CheckpointStore, first: GlintIQA | None) -> tuple[TrainState, Any]:
        """The state and the data iterator to go on from: the latest checkpoint's, or the first model's."""
        iterator = iter(
            training_batches(
                self.source,
                self.split.train,
                crop_size=self.config.model.crop_size,
                batch_size=self.config.batch_size,
                seed=self.config.seed,
                crops_per_image=self.config.crops_per_image,
                vertical_flips=self.config.vertical_flips,
                cache_bytes=self.config.data.cache_megabytes * 2**20,
                num_workers=self.config.num_workers,
            )
        )
        step = store.latest_step()
        if step is None:
            state = self.trainer.start_from(first or _first_model(self.config))
        else:
            tqdm.write(f"going on from step {step}")
            state = store.restore(self.trainer.abstract_state, self.trainer.sharding, iterator, step=step)
        _drop_metrics_after(self.workdir / "metrics.jsonl", step or 0)
        return state, iterator

    def train(
        self, state: TrainState, iterator: Any, store: CheckpointStore, last_step: int, stop: threading.Event
    ) -> TrainState:
        """Steps up to ``last_step``, or until ``stop`` is set; evaluates and saves on the way."""
        config, step = self.config, int(state.step)
        dropout_key = jax.random.fold_in(jax.random.key(config.seed), 1)
        losses: list[jax.Array] = []
        best = max(_validation_sroccs(self.workdir / "metrics.jsonl"), default=math.nan)
        images = config.batch_size
        with tqdm(total=last_step * images, initial=step * images, desc="training", unit="image") as bar:
            while step < last_step and not stop.is_set():
                batch = jax.device_put(next(iterator), batch_sharding(self.mesh))
                state, loss = self.trainer.step(state, batch, dropout_key)
                losses.append(loss)
                step += 1
                evaluate = step % config.eval_every == 0 or step == last_step
                if step % _LOG_EVERY == 0 or evaluate:
                    mean_loss = float(np.mean(jax.device_get(losses)))
                    if not math.isfinite(mean_loss):
                        raise UserError(
                            f"the loss is {mean_loss} around step {step}; --learning_rate={config.learning_rate:g} "
                            f"may be too high. The last good checkpoint is in {self.workdir}"
                        )
                    self._log({"step": step, "loss": mean_loss, "learning_rate": float(self._schedule(step))})
                    bar.update(len(losses) * images)
                    bar.set_postfix(loss=f"{mean_loss:.4f}", best_val_srocc=f"{best:.3f}")
                    losses = []
                if evaluate and not len(self.split.validation):
                    store.save(state, iterator, None)
                elif evaluate:
                    metrics = self.predict(state, self.split.validation, "validating").metrics()
                    self._log({"step": step, "validation": _plain(metrics)})
                    store.save(state, iterator, metrics)
                    best = max(_validation_sroccs(self.workdir / "metrics.jsonl"), default=math.nan)
                    bar.set_postfix(loss=f"{mean_loss:.4f}", best_val_srocc=f"{best:.3f}")
        if stop.is_set() and step != store.latest_step():
            store.save(state, iterator, None)
        store.wait()
        return state

    def predict(self, state: TrainState, positions: np.ndarray, progress: str) -> Predictions:
        return predict_source(
            lambda crops: self._predict(state.params, state.rest, crops),
            self.source,
            positions,
            scale=self.source.scale,
            crop_size=self.config.model.crop_size,
            grid=self.config.eval_grid,
            batch_size=self.config.eval_batch_size,
            mesh=self.mesh,
            num_workers=self.config.num_workers,
            progress=progress,
        )

    def _log(self, row: dict[str, Any]) -> None:
        with (self.workdir / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def _first_model(config: TrainConfig) -> GlintIQA:
    """What training starts from: new values, and those of ``--backbone_weights`` where there are any."""
    model = new_model(config.model, seed=config.seed)
    for name in config.backbone_weights:
        try:
            for path in find_weights(name, config.model, say=tqdm.write):
                tqdm.write(f"{load_backbone(model, path)} starts from {path}")
        except WeightsError as error:
            raise UserError(about("backbone_weights", name, error)) from error
    return model


def _check_same_experiment(config: TrainConfig, workdir: Path) -> None:
    """Refuse a workdir that another configuration has begun, before any work."""
    path = workdir / "config.json"
    if not path.is_file():
        if workdir.exists() and not workdir.is_dir():
            raise UserError(f"--workdir={workdir}: expected a folder, found a file")
        return
    theirs = from_json(json.loads(path.read_text())["config"])
    differing = [line for line in differences(config, theirs) if not line.startswith(_NO_PART_OF_THE_EXPERIMENT)]
    if differing:
        raise UserError(
            f"--workdir={workdir}: expected a new folder or one of this experiment, found another one's: "
            + "; ".join(differing)
        )


def _claim_workdir(workdir: Path, description: Description) -> None:
    """Write ``config.json``, or check that the data are still those the workdir began with."""
    path = workdir / "config.json"
    if not path.is_file():
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            write_json(path, description.to_json())
        except OSError as error:
            raise UserError(f"--workdir={workdir}: cannot be written ({error})") from error
        return
    theirs = json.loads(path.read_text())
    if theirs["data_fingerprint"] != description.data_fingerprint:
        raise UserError(
            f"--workdir={workdir}: images or scores have changed since this run began; give it a new folder"
        )
    if theirs["split_sha256"] != description.split_sha256:
        raise UserError(
            f"--workdir={workdir}: who trains and who is tested has changed since this run began, by the file "
            f"--split_by={description.config.data.split_by}; give it a new folder"
        )


def _finished(workdir: Path, last_step: int) -> dict[str, Any] | None:
    path = workdir / "results.json"
    if path.is_file():
        results = json.loads(path.read_text())
        if results["step"] == last_step:
            tqdm.write(f"{path}: this run is complete; these are its results")
            return results
    return None


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second acts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _plain(metrics: dict[str, float | int]) -> dict[str, float | int | None]:
    """JSON has no NaN: an undefined correlation is null."""
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _validation_sroccs(path: Path) -> list[float]:
    """Of every evaluation so far that has one."""
    rows = [row["validation"]["srocc"] for row in _read_metrics(path) if "validation" in row]
    return [srocc for srocc in rows if srocc is not None]


def _drop_metrics_after(path: Path, step: int) -> None:
    """Forget what a run that is being resumed wrote after its last checkpoint; those steps come again."""
    rows = [row for row in _read_metrics(path) if row["step"] <= step]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
