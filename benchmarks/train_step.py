"""How many crops per second a network trains on, ours beside the same one in PyTorch.

    python benchmarks/train_step.py
    python benchmarks/train_step.py --variants=glintiqa_lite --batch_sizes=16 --ways=eager,compile --json

Prints a Markdown table. A pass is a whole step on one batch: forward, L1 loss, gradients of all parameters, AdamW.
Ours is the step that training takes, of uint8 crops; PyTorch's gets its crops ready made, as floats. How it is
measured: ``against_torch.py``. bfloat16 is autocast there, and what training multiplies in here. What a step of ours
costs in memory and compilation: ``train_step_cost.py``.

Needs ``pip install torch`` (``compile`` a C++ compiler, too) and an otherwise idle machine. Takes a quarter of an hour.
"""

from __future__ import annotations

import against_torch
from absl import flags
from against_torch import BFLOAT16, Job, Passes
from script import run_script

flags.adopt_module_key_flags(against_torch)

_LEARNING_RATE, _WEIGHT_DECAY = 1e-5, 1e-5


def main() -> None:
    """The command."""
    against_torch.compare(ours, theirs)


def ours(job: Job) -> Passes:
    """The step that training takes."""
    import jax
    from our_passes import accelerated, loaded, products, words

    from glintiqa_jax import settings
    from glintiqa_jax.models.config import VARIANTS
    from glintiqa_jax.sharding import global_batch, make_mesh
    from glintiqa_jax.training.experiment import Experiment
    from glintiqa_jax.training.step import Trainer

    ways, model, mesh = products(job), loaded(job), make_mesh(devices=jax.devices()[:1])
    crops, targets = job.crops()
    batch = global_batch({"image": crops, "target": targets}, mesh)
    key = jax.random.key(0)
    for way, dtype in (("ours", "float32"), ("ours, bfloat16", "bfloat16"))[: 1 + (BFLOAT16 in job.ways)]:
        experiment = settings.replace(
            Experiment(model=VARIANTS[job.variant]),
            batch_size=job.batch_size,
            compute_dtype=dtype,
            loss="l1",
            optimizer="adamw",
            learning_rate=_LEARNING_RATE,
            weight_decay=_WEIGHT_DECAY,
        )
        trainer = Trainer(experiment, mesh)
        states = [trainer.start_from(model)]

        def one(trainer: Trainer = trainer, states: list = states) -> None:
            states[0] = jax.block_until_ready(trainer.step(states[0], batch, key))[0]

        ways[way] = one
    return Passes(ways, words(), accelerated())


def theirs(job: Job) -> Passes:
    """PyTorch's."""
    import torch
    from their_passes import accelerated, device, flops_of, loaded, products, words

    ways, (images, targets) = products(job), job.crops()
    crops = (torch.from_numpy(images).permute(0, 3, 1, 2).contiguous() / 127.5 - 1).to(device())
    target = torch.from_numpy(targets).to(device())

    def whole(*, last: bool = False, compiled: bool = False, low: bool = False):
        model = loaded(job).train()
        if last:
            model = model.to(memory_format=torch.channels_last)
        batch = crops.to(memory_format=torch.channels_last) if last else crops
        optimiser = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        run = torch.compile(model) if compiled else model

        def one() -> float:
            with torch.autocast(device(), torch.bfloat16, enabled=low):
                loss = (run(batch) - target).abs().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            return loss.item()  # which waits

        return one

    possible = {
        "eager": lambda: whole(),
        "channels_last": lambda: whole(last=True),
        "compile": lambda: whole(compiled=True),
        "bfloat16": lambda: whole(last=True, compiled=True, low=True),
    }
    ways |= {way: possible[way]() for way in job.ways}
    with torch.no_grad():
        flops = 3 * flops_of(lambda: loaded(job)(crops)) / job.batch_size
    return Passes(ways, words(), accelerated(), flops=flops)


if __name__ == "__main__":
    run_script(main)
