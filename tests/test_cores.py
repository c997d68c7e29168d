"""XLA's threads have a core each while something is trained or evaluated, and their freedom back afterwards."""

import json
import os
import subprocess
import sys

import jax
import pytest

from glintiqa_jax import cores

SCRIPT = """
import contextlib, json, os, jax
from glintiqa_jax import cores
jax.devices()
threads = cores._threads()
allowed = lambda: [sorted(os.sched_getaffinity(thread)) for thread in threads]
found = [allowed()]
with contextlib.suppress(KeyError), cores.core_each():
    found.append(allowed())
    with cores.core_each():
        found.append(allowed())
    found.append(allowed())
    raise KeyError
print(json.dumps([*found, allowed()]))
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or os.cpu_count() == 1, reason="needs Linux and two cores")
def test_each_thread_has_a_core_of_its_own_until_the_end():
    environment = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    before, outer, inner, outer_again, after = json.loads(done.stdout)
    cpus = sorted(os.sched_getaffinity(0))
    assert before == after == [cpus] * len(cpus)
    assert outer == inner == outer_again == [[cpu] for cpu in cpus]


def test_nothing_happens_where_threads_and_cores_differ_in_number():
    assert len(jax.devices()) > 1  # each device has threads of its own
    assert cores.spread_threads() == {}
