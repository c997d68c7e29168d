"""PyTorch's side of ``forward.py`` and ``train_step.py``; imported in its own process alone."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch_glintiqa
from against_torch import BFLOAT16, BFLOAT16_PRODUCTS, PRODUCTS, Job, cores, product_side
from torch.utils.flop_counter import FlopCounterMode


def accelerated() -> bool:
    """Whether PyTorch computes on no CPU."""
    return torch.cuda.is_available()


def device() -> str:
    """Where PyTorch computes."""
    return "cuda" if accelerated() else "cpu"


def loaded(job: Job) -> torch_glintiqa.GlintIQA:
    """The job's network with its weights, in evaluation mode."""
    torch.set_num_threads(cores())
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True  # as JAX multiplies there
    model = torch_glintiqa.GlintIQA(SimpleNamespace(**job.fields))
    with np.load(job.weights) as weights:
        model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files}, strict=True)
    return model.to(device())


def products(job: Job) -> dict[str, Callable[[], Any]]:
    """Products of two matrices."""
    torch.set_num_threads(cores())
    side = product_side(accelerated())
    found = {}
    for name, dtype in ((PRODUCTS, torch.float32), (BFLOAT16_PRODUCTS, torch.bfloat16))[: 1 + (BFLOAT16 in job.ways)]:
        matrix = torch.rand(side, side, dtype=dtype, device=device())
        found[name] = lambda matrix=matrix: (matrix @ matrix)[0, 0].item()  # which waits
    return found


def flops_of(run: Callable[[], Any]) -> float:
    """Of the convolutions and products of a pass, as PyTorch counts them."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def words() -> str:
    """What computes."""
    where = torch.cuda.get_device_name() if accelerated() else f"{cores()} cores of a CPU"
    return f"PyTorch {torch.__version__} on {where}"
