"""How time and memory grow with crops, their side, a photograph's size and the number of photographs.

    python benchmarks/growth.py
    python benchmarks/growth.py --measures=photograph,step --sizes_at_most=2

Prints one Markdown table with a row for each size, and the exponent of time that fits a measure's rows: 1 is linear, 0
is flat. Each row is a process of its own. Seconds are the median of ``--repeats`` calls after one that compiles; peak
MB is what the process took at most, over what it held with the network built, compilation included. The network is
``--variant``, with random weights.

- crops: scoring so many crops in one call.
- photograph: scoring one photograph of so many megapixels, an array in memory, from pixels to score.
- photographs: scoring so many photographs of a quarter of a megapixel, one after another.
- step: a training step of so many crops.
- side: a training step of four crops of so many pixels a side.

Takes about ten minutes on two cores, most of it compilation. How preparing a database grows: ``input_pipeline.py``.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
from absl import flags
from processes import in_a_process
from script import run_script

from glintiqa_jax.errors import InputError

# by measure: what is varied, and how large it is
SIZES = {
    "crops": ("crops", (2, 8, 32, 128)),
    "photograph": ("megapixels", (0.25, 1, 4, 16, 64)),
    "photographs": ("photographs", (10, 40, 160)),
    "step": ("crops", (4, 8, 16, 32)),
    "side": ("pixels", (128, 224, 320)),
}

_MEASURES = flags.DEFINE_list("measures", list(SIZES), "which")
_VARIANT = flags.DEFINE_string("variant", "glintiqa_lite", "which network")
_SIZES_AT_MOST = flags.DEFINE_integer("sizes_at_most", 9, "the first so many of a measure", lower_bound=2)
_REPEATS = flags.DEFINE_integer("repeats", 5, "calls", lower_bound=1)


def main() -> None:
    """The command."""
    for measure in _MEASURES.value or [""]:
        if measure not in SIZES:
            raise InputError(field="measures", expected=f"some of {', '.join(SIZES)}", found=repr(measure))
    print("| what | size | s | exponent | peak MB |\n|---|---|---|---|---|")
    for measure in _MEASURES.value:
        unit, sizes = SIZES[measure]
        sizes = sizes[: _SIZES_AT_MOST.value]
        found = [in_a_process(measured, measure, size, _VARIANT.value, _REPEATS.value) for size in sizes]
        exponent = np.polyfit(np.log(sizes), np.log([seconds for seconds, _ in found]), 1)[0]
        for size, (seconds, peak) in zip(sizes, found, strict=True):
            fitted = f"{exponent:.2f}" if size == sizes[-1] else ""
            print(f"| {measure} | {size:g} {unit} | {seconds:.4g} | {fitted} | {peak:.0f} |", flush=True)


def measured(measure: str, size: float, variant: str, repeats: int) -> tuple[float, float]:
    """Seconds of a call, and the memory that it took, in MB."""
    call = _call(measure, size, variant)
    before = _peak()
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux: KB


def _call(measure: str, size: float, variant: str) -> Callable[[], object]:
    """What is measured, ready to be called."""
    import jax
    from flax import nnx

    from glintiqa_jax import settings
    from glintiqa_jax.cores import spread_threads
    from glintiqa_jax.data.scale import ScoreScale
    from glintiqa_jax.models.config import variant_config
    from glintiqa_jax.models.glintiqa import new_model
    from glintiqa_jax.scoring.card import ModelCard, View
    from glintiqa_jax.scoring.model import Model
    from glintiqa_jax.scoring.predict import Predict
    from glintiqa_jax.sharding import global_batch, make_mesh
    from glintiqa_jax.training.experiment import Experiment
    from glintiqa_jax.training.step import Trainer

    rng, mesh = np.random.default_rng(0), make_mesh(devices=jax.devices()[:1])
    spread_threads()  # as commands do
    config = variant_config(variant, **({"crop_size": int(size)} if measure == "side" else {}))
    graphdef, state = nnx.split(new_model(config))
    # biases of 0 leave a deep network's values so small that processors compute with them slowly
    state = jax.tree.map(lambda x: x + rng.uniform(-0.1, 0.1, x.shape).astype("f4") if x.ndim == 1 else x, state)
    network = nnx.merge(graphdef, state)
    if measure.startswith("photograph"):
        model = Model(network, ModelCard(config, ScoreScale(0.0, 1.0), View(max_short_side=512)))
        side, count = (round((size * 1e6) ** 0.5), 1) if measure == "photograph" else (500, int(size))
        photograph = rng.integers(0, 256, (side, side, 3), np.uint8)
        return lambda: [model.score(photograph) for _ in range(count)]
    batch, crop = 4 if measure == "side" else int(size), config.crop_size
    crops = rng.integers(0, 256, (batch, crop, crop, 3), np.uint8)
    if measure == "crops":
        predict = Predict(graphdef, mesh)
        return lambda: jax.block_until_ready(predict(crops[:, None], state))
    trainer = Trainer(settings.replace(Experiment(model=config), batch_size=batch), mesh)
    states, key = [trainer.start_from(network)], jax.random.key(0)
    whole = global_batch({"image": crops, "target": rng.random(batch, np.float32)}, mesh)

    def step() -> None:
        states[0] = jax.block_until_ready(trainer.step(states[0], whole, key))[0]

    return step


if __name__ == "__main__":
    run_script(main)
