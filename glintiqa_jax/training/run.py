"""The steps of a run: logged, evaluated and saved on the way, interrupted and resumed at any of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from glintiqa_jax.data.pipeline import Batching, training_batches
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.splits import Split
from glintiqa_jax.data.transforms import TRANSFORMS
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.metrics import METRICS
from glintiqa_jax.evaluation.prediction import Predictions, predict_source
from glintiqa_jax.interruptions import Stop, Stopped, stop_on_signals
from glintiqa_jax.models.glintiqa import GlintIQA
from glintiqa_jax.progress import Log
from glintiqa_jax.saqt.ladder import LevelLadder
from glintiqa_jax.scoring.predict import Predict
from glintiqa_jax.sharding import global_batch, share
from glintiqa_jax.training import mirror, processes
from glintiqa_jax.training.checkpoints import CheckpointStore
from glintiqa_jax.training.description import Description
from glintiqa_jax.training.metrics_log import FILE as METRICS_FILE
from glintiqa_jax.training.metrics_log import SPEED, MetricsLog, plain
from glintiqa_jax.training.optimiser import learning_rate_schedule
from glintiqa_jax.training.profiling import FOLDER as PROFILE
from glintiqa_jax.training.profiling import Profile
from glintiqa_jax.training.start import starts_from_a_model
from glintiqa_jax.training.step import Trainer, TrainState

_AHEAD = 2  # steps that are handed to the devices before they have ended, so that a signal is not heard late
_LOOK_EVERY = 25  # steps between two reads of the losses, each of which waits for the device


class Run:
    """Training and prediction on a source.

    Args:
      description: what is trained, where it runs, and the card of the model.
      source: the images, as large as the experiment wants them.
      split: the train, validation and test positions.
      store: the checkpoints.
      mesh: the devices.
      workdir: where the log of metrics goes.
      log: where messages go.
    """

    def __init__(
        self,
        description: Description,
        source: Source,
        split: Split,
        *,
        store: CheckpointStore,
        mesh: Mesh,
        workdir: Path,
        log: Log,
    ):
        self.experiment = experiment = description.experiment
        self.execution, self.card = description.execution, description.card
        self.workdir, self.mesh, self.log = workdir, mesh, log
        self.source, self.split, self.store = source, split, store
        self.trainer = Trainer(experiment, mesh, remat=description.execution.remat)
        self._predict = Predict(self.trainer.graphdef, mesh)
        self._schedule = learning_rate_schedule(experiment)
        self._dropout_key = jax.random.fold_in(jax.random.key(experiment.start.seed), 1)
        self._log: MetricsLog | None = None
        self._unseen: list[tuple[jax.Array | float, np.ndarray]] = []  # of the steps since a look: loss, positions
        self._saved_at = time.monotonic()
        self._timed, self._since, self._waited = 0, 0.0, 0.0  # steps since a look, since when, and seconds without data
        self._profile = Profile(workdir / PROFILE, description.execution.profile_steps)
        self.watched = experiment.validation.watched
        self._watched: np.ndarray = getattr(split, self.watched)
        self._selection = experiment.validation.selection_metric
        self._metric = METRICS[self._selection]
        self._best: tuple[float, int, Predictions] | None = None  # evaluated by this process: figure, step, predictions

    def start(self, first: Callable[[], GlintIQA]) -> TrainState:
        """The state to resume from: the latest checkpoint's, or that of the first model."""
        step = self.store.latest_step()
        if step is None:
            state = self.trainer.start_from(first())
        else:
            processes.tell(f"continuing from step {step}", self.log)
            state = self.store.restore(self.trainer.abstract_state, self.trainer.sharding, step=step)
            self._unseen = [(loss, np.zeros(0, np.int64)) for loss in self.store.unseen_losses(step)]
        if processes.is_first():
            self._log = MetricsLog(self.workdir, -1 if step is None else step)
        return state

    def close(self) -> None:
        """Close what is written, and expect no unit of work any more."""
        if jax.process_count() > 1:
            processes.watch().rest()
        self._profile.close()
        if self._log is not None:
            self._log.close()

    def train(self, state: TrainState, last_step: int) -> TrainState:
        """Steps up to ``last_step``, evaluating and saving on the way; first as step 0 the model that it starts from.

        A signal acts at once in the first step, which compiles, in the last before an evaluation and in evaluations,
        which are done again. Several processes stop all before the same step or batch of an evaluation.

        Raises:
          Stopped: a signal ended the steps, which are saved.
        """
        batch_size, eval_every = self.experiment.images.batch_size, self.experiment.validation.eval_every
        step = first = int(state.step)
        batches, number = self._batches(step), 0
        alone, hidden = jax.process_count() == 1, not processes.is_first()
        total, done = last_step * batch_size, step * batch_size
        bar = self.log.progress(total=total, initial=done, desc="training", unit="image", hidden=hidden)
        with contextlib.nullcontext() if alone else _stopping_together(), bar:
            if starts_from_a_model(self.experiment) and len(self._watched) and self.store.latest_step() is None:
                self._evaluate(state, 0)  # few images may teach it less than it knows
            while step < last_step and not number:
                evaluated = min((step // eval_every + 1) * eval_every, last_step)
                by_steps = first < step < evaluated - 1
                saving = stop_on_signals() if by_steps and alone else contextlib.nullcontext(Stop())
                with saving as stop:
                    for _ in range(evaluated - 1 - step if by_steps else 1):
                        if number := self._begin("step"):
                            break
                        state = self._step(state, batches)
                        step += 1
                        look = step == evaluated or step % _LOOK_EVERY == 0
                        if look:
                            self._look(step, bar)
                        if step < evaluated and self._is_due(step, look):
                            self._save(state, step)
                        if number := stop.number:
                            break
                number = number or stop.number
                if step == evaluated and not number:
                    self._evaluate(state, step)
        if number and step != self.store.latest_step():
            self._save(state, step)
        self.store.wait()
        if number:
            if processes.is_first():
                self.log.warn(f"stopped at step {step}")
            raise Stopped(number)
        return state

    def _begin(self, kind: str) -> int:
        """Before a step, or a batch of an evaluation: the number of the signal by which all stop here, or 0."""
        return 0 if jax.process_count() == 1 else processes.watch().begin(kind, self.execution.devices.step_timeout)

    def _step(self, state: TrainState, batches: Iterator[dict[str, np.ndarray]]) -> TrainState:
        begun = time.monotonic()
        if not self._timed:
            self._since, self._waited = begun, 0.0
        batch = next(batches)
        self._waited += time.monotonic() - begun
        positions = batch.pop("position")
        state, loss = self.trainer.step(state, global_batch(batch, self.mesh), self._dropout_key)
        self._unseen.append((loss, positions))
        self._timed += 1
        self._profile.step()
        if len(self._unseen) > _AHEAD:
            jax.block_until_ready(self._unseen[-1 - _AHEAD][0])
        return state

    def _look(self, step: int, bar: tqdm) -> None:
        """Wait for the steps so far, log their mean loss, and seal what was saved meanwhile."""
        loss = float(np.mean(self._losses(step)))
        self._unseen = []
        self._write({"step": step, "loss": loss, "learning_rate": float(self._schedule(step))} | self._speed())
        self.store.tend()
        best = self._log.best(self.watched, self._selection) if self._log else None
        said = {f"best_{self.watched}_{self._selection}": "none" if best is None else self._metric.text(best)}
        bar.update(step * self.experiment.images.batch_size - bar.n)
        bar.set_postfix(loss=f"{loss:.4f}", **said)

    def _speed(self) -> dict[str, float]:
        """Of the steps of this process since a look: what is measured is no function of the seed."""
        seconds, steps, self._timed = time.monotonic() - self._since, self._timed, 0
        images = steps * self.experiment.images.batch_size
        return dict(zip(SPEED, (images / seconds, seconds / steps, self._waited / steps), strict=True))

    def _is_due(self, step: int, look: bool) -> bool:
        """Whether to save between two evaluations; of several processes the first one's clock decides, at a look."""
        saving = self.execution.saving
        if saving.save_every and step % saving.save_every == 0:
            return True
        late = time.monotonic() - self._saved_at >= 60 * saving.save_minutes > 0
        if jax.process_count() == 1:
            return late
        return look and processes.by_the_first(lambda: late)

    def _evaluate(self, state: TrainState, step: int) -> None:
        figure = None
        if len(self._watched):
            predictions = self.predict(state, self._watched, "validating")
            metrics = predictions.metrics()
            self._write({"step": step, self.watched: plain(metrics)})
            figure = self._metric.worth(metrics[self._selection])
            if self._best is None or figure >= self._best[0]:
                self._best = figure, step, predictions
        self._save(state, step, figure)

    def evaluated(self, side: str, step: int) -> Predictions | None:
        """What has been predicted already of a part of the split, if it was this step's, the best of this process."""
        if self._best is None or (self.watched, self._best[1]) != (side, step):
            return None
        return self._best[2]

    def _save(self, state: TrainState, step: int, figure: float | None = None) -> None:
        begun = time.monotonic()
        losses = self._losses(step).tolist()  # nothing is saved after a loss that is not finite
        self.store.save(state, figure, unseen_losses=losses)
        if processes.is_first():
            mirror.keep(self.workdir, self.store.folder, METRICS_FILE)
        self._saved_at = time.monotonic()
        self._since += self._saved_at - begun

    def _batches(self, first: int) -> Iterator[dict[str, np.ndarray]]:
        images = self.experiment.images
        batching = Batching(
            crop_size=self.experiment.model.crop_size,
            batch_size=images.batch_size,
            crops_per_image=images.crops_per_image,
            vertical_flips=images.vertical_flips,
            transforms=[TRANSFORMS[name] for name in images.transforms],
            ladder=LevelLadder(images.ranked_levels) if images.ranked_levels else None,
            ladder_every=images.ranked_every,
            seed=self.experiment.start.seed,
        )
        scores = self.source.index.raw_scores
        targets = scores if self.experiment.objective.target == "raw" else self.source.scale.to_quality(scores)
        batches = training_batches(
            self.source,
            self.split.train,
            targets.astype(np.float32),
            batching,
            first_batch=first,
            share=share(self.mesh),
            loading=self.execution.loading,
        )
        return iter(batches)

    def _losses(self, step: int) -> np.ndarray:
        """Of the steps since a look, float64; ``InputError`` names the first that is not finite, and its images."""
        losses = np.asarray(jax.device_get([loss for loss, _ in self._unseen]), np.float64)
        for number in np.flatnonzero(~np.isfinite(losses))[:1]:
            names = ", ".join(dict.fromkeys(self.source.index.names[position] for position in self._unseen[number][1]))
            if jax.process_count() > 1:
                names += " and other processes' images"
            at = step - len(self._unseen) + number + 1
            last = self.store.latest_step()
            good = "none was saved before" if last is None else f"the last good checkpoint is step {last}'s"
            rate = self.experiment.optimiser.learning_rate
            raise InputError(
                f"the loss or its gradient is not finite at step {at}, on {names}; {good}",
                hint=f"`learning_rate={rate:g}` may be too high, or a score wrong",
            )
        return losses

    def predict(self, state: TrainState, positions: np.ndarray, progress: str) -> Predictions:
        """Predictions of a state's network on some images."""

        def predict(crops: jax.Array) -> jax.Array:
            if number := self._begin("batch"):
                raise Stopped(number)
            return self._predict(crops, state.evaluated, state.rest)

        hidden = not processes.is_first()
        with self.log.progress(total=len(positions), desc=progress, unit="image", leave=False, hidden=hidden) as bar:
            return predict_source(
                predict,
                self.source,
                positions,
                self.card,
                mesh=self.mesh,
                batch_size=self.execution.eval_batch_size,
                loading=self.execution.loading,
                bar=bar,
            )

    def _write(self, row: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(row)


@contextlib.contextmanager
def _stopping_together() -> Iterator[None]:
    """Let a signal to one of several processes stop all of them before the same step or batch."""
    with stop_on_signals() as stop:
        processes.watch().heed(stop)
        try:
            yield
        finally:
            processes.watch().heed(None)
            processes.watch().rest()
