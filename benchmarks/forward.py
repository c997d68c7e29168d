"""How many crops per second a network scores, ours beside the same one in PyTorch.

    python benchmarks/forward.py
    python benchmarks/forward.py --variants=glintiqa_lite --batch_sizes=1,8,25,32 --ways=eager,compile --json

Prints a Markdown table. Ours is ``Predict``, which scores wherever this package does, of uint8 crops; PyTorch's gets
its crops ready made, as floats, without gradients. How it is measured: ``against_torch.py``. Both give the same scores
of the same random weights, or it ends. bfloat16 is autocast there, and what training multiplies in here.

Needs ``pip install torch`` (``compile`` a C++ compiler, too) and an otherwise idle machine. Takes about ten minutes.
"""

from __future__ import annotations

import against_torch
import numpy as np
from absl import flags
from against_torch import BFLOAT16, Job, Passes
from script import run_script

flags.adopt_module_key_flags(against_torch)


def main() -> None:
    """The command."""
    against_torch.compare(ours, theirs)


def ours(job: Job) -> Passes:
    """Our network, compiled as users compile it."""
    import jax
    from flax import nnx
    from our_passes import accelerated, loaded, products, words

    from glintiqa_jax.models.computation import compute_in
    from glintiqa_jax.scoring.predict import Predict
    from glintiqa_jax.sharding import make_mesh

    ways, model = products(job), loaded(job)
    crops = job.crops()[0][:, None]  # (batch, 1, crop, crop, 3): an image is one crop
    scores = None
    for way, dtype in (("ours", "float32"), ("ours, bfloat16", "bfloat16"))[: 1 + (BFLOAT16 in job.ways)]:
        compute_in(model, dtype)
        graphdef, state = nnx.split(model)
        predict = Predict(graphdef, make_mesh(devices=jax.devices()[:1]))
        ways[way] = lambda predict=predict, state=state: jax.block_until_ready(predict(crops, state))
        scores = np.asarray(ways[way]())[:, 0] if scores is None else scores
    return Passes(ways, words(), accelerated(), scores)


def theirs(job: Job) -> Passes:
    """PyTorch's."""
    import torch
    from their_passes import accelerated, device, flops_of, loaded, products, words

    ways, (images, _) = products(job), job.crops()
    crops = (torch.from_numpy(images).permute(0, 3, 1, 2).contiguous() / 127.5 - 1).to(device())
    model = loaded(job)
    last = loaded(job).to(memory_format=torch.channels_last)
    crops_last = crops.to(memory_format=torch.channels_last)
    compiled = torch.compile(model)

    def whole(run, crops, low=False):
        def one() -> np.ndarray:
            with torch.inference_mode(), torch.autocast(device(), torch.bfloat16, enabled=low):
                return run(crops).float().cpu().numpy()  # which waits

        return one

    possible = {
        "eager": whole(model, crops),
        "channels_last": whole(last, crops_last),
        "compile": whole(compiled, crops),
        "bfloat16": whole(torch.compile(last), crops_last, low=True),
    }
    ways |= {way: possible[way] for way in job.ways}
    flops = flops_of(lambda: whole(model, crops)()) / job.batch_size
    return Passes(ways, words(), accelerated(), possible["eager"](), flops)


if __name__ == "__main__":
    run_script(main)
