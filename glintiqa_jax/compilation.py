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
_OPTIONS = {("cpu", "0.10.2"): {"xla_cpu_experimental_ynn_fusion_type": ""}}


def compiler_options(platform: str, jaxlib_version: str = jaxlib.__version__) -> dict[str, str]:
    """What ``jax.jit(function, compiler_options=...)`` needs to compute right; nothing for most versions.

    Args:
      platform: where the function will run: "cpu", "gpu", "tpu".
      jaxlib_version: as ``jaxlib.__version__``.
    """
    return dict(_OPTIONS.get((platform, jaxlib_version), {}))


def jit(function: Callable, mesh: Mesh, **options: Any) -> Any:
    """``jax.jit`` for the devices of a mesh, with the compiler's options that are needed there.

    Args:
      function: what is compiled.
      mesh: where it runs.
      options: those of ``jax.jit``, such as ``in_shardings`` and ``donate_argnums``.
    """
    platform = mesh.devices.flat[0].platform
    return jax.jit(function, compiler_options=compiler_options(platform) or None, **options)
