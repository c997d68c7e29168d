"""How this package compiles: the one home of XLA's options, by platform and version of jaxlib.

jaxlib 0.10.2 computes wrong sums on CPUs, silently: its fusion of reductions mixes up rows beyond the 32,768th where
a sum is of sums over three values (jax issue 39103: ``sum((matrix @ row) ** 2)`` over 32,769 rows). 0.10.1 and 0.11.0
compute the same right. Without that fusion 0.10.2 does, too.

``setup.cfg`` excludes 0.10.2, because a network that is called inside a user's own ``jax.jit`` is compiled with the
user's options, together with the user's computation, which no form of ours could protect. Where 0.10.2 is installed all
the same, everything that this package compiles itself is right, and ``compiler_options`` is there for a user's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jaxlib
from jax.sharding import Mesh

# Versions of jaxlib whose CPU compiler is wrong with its defaults. An option is given to these alone: XLA refuses those
# that it does not know, and other versions have other ones.
_WITHOUT_FUSION = {"xla_cpu_experimental_ynn_fusion_type": ""}
_OPTIONS = {("cpu", "0.10.2"): _WITHOUT_FUSION}
# Versions in which a light network's scores take a sixth less time without that fusion, and its training more.
_FORWARD_OPTIONS = {("cpu", "0.10.1"): _WITHOUT_FUSION}


def compiler_options(
    platform: str, jaxlib_version: str = jaxlib.__version__, *, forward_only: bool = False
) -> dict[str, str]:
    """What ``jax.jit(function, compiler_options=...)`` needs to compute right; nothing for most versions.

    Args:
      platform: where the function will run: "cpu", "gpu", "tpu".
      jaxlib_version: as ``jaxlib.__version__``.
      forward_only: for a network's scores without gradients: also what computes them faster.
    """
    where = platform, jaxlib_version
    return _OPTIONS.get(where, {}) | (_FORWARD_OPTIONS.get(where, {}) if forward_only else {})


def platform_of(mesh: Mesh) -> str:
    """Of a mesh's devices: "cpu", "gpu", "tpu"."""
    return mesh.devices.flat[0].platform


def jit(function: Callable, mesh: Mesh, *, forward_only: bool = False, **options: Any) -> Any:
    """``jax.jit`` for the devices of a mesh, with the compiler's options that are wanted there.

    Args:
      function: what is compiled.
      mesh: where it runs.
      forward_only: whether it is a network's scores without gradients.
      options: those of ``jax.jit``, such as ``in_shardings`` and ``donate_argnums``.
    """
    chosen = compiler_options(platform_of(mesh), forward_only=forward_only)
    return jax.jit(function, compiler_options=chosen or None, **options)
