"""Several processes as one run: how they connect, what only the first does, how they stop together."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from glintiqa_jax.errors import InputError, LostProcessError
from glintiqa_jax.progress import TERMINAL, Log

T = TypeVar("T")
# In what collectives (of Gloo and NCCL) and the coordination service say where a process is gone; other failures of
# theirs, as of memory, are the process's own.
_SIGNS_OF_LOSS = ("gloo", "nccl", "unavailable", "heartbeat", "coordination", "barrier", "connection")
_HEARTBEAT = 60  # seconds of silence after which a process counts as lost


def connect(mode: str, coordinator_address: str = "", num_processes: int = 0, process_id: int = -1) -> None:
    """Find the other processes of a run, before JAX is used for anything else.

    Args:
      mode: "auto" asks the cluster (TPU pods, Slurm, Open MPI, Kubernetes); "off" is one process, unless the rest of
        the arguments say who takes part.
      coordinator_address: HOST:PORT of the first process.
      num_processes: how many there are.
      process_id: this one's number, from 0.

    Raises:
      InputError: for arguments that do not go together, and when the others are not found.
    """
    explicit = (bool(coordinator_address), num_processes > 0, process_id >= 0)
    if any(explicit) and not all(explicit):
        raise InputError(
            field="coordinator_address",
            expected="this, `num_processes` and `process_id`, or none of them",
            found=f"{coordinator_address or 'none'}, {num_processes or 'none'}, "
            f"{'none' if process_id < 0 else process_id}",
        )
    if all(explicit) and process_id >= num_processes:
        raise InputError(field="process_id", expected=f"one of 0 to {num_processes - 1}", found=process_id)
    if not all(explicit) and mode == "off":
        return
    try:
        jax.distributed.initialize(
            coordinator_address=coordinator_address or None,
            num_processes=num_processes or None,
            process_id=process_id if process_id >= 0 else None,
            heartbeat_timeout_seconds=_HEARTBEAT,
        )
    except (ValueError, RuntimeError) as error:
        field, value = ("coordinator_address", coordinator_address) if all(explicit) else ("distributed", "auto")
        raise InputError(f"the other processes were not found ({error})", field=field, value=value) from error


def is_first() -> bool:
    """Whether this is the process that writes reports, results and messages."""
    return jax.process_index() == 0


def tell(line: str, log: Log = TERMINAL) -> None:
    """Show one line, by the first process; a ``warning:`` is always shown."""
    if is_first():
        log.tell(line)


def by_the_first(function: Callable[[], T]) -> T:
    """A function's result in the first process, for all of them; its exception ends all.

    The value must be one that JSON has. Every process must call this.

    Raises:
      InputError: the first's, in each.
      LostProcessError: in the others, where the first failed otherwise.
    """
    if jax.process_count() == 1:
        return function()
    answer: dict = {}
    failure: Exception | None = None
    if is_first():
        try:
            answer = {"value": function()}
        except Exception as error:
            failure, answer = error, {"error": str(error), "mistake": isinstance(error, InputError)}
    text = np.frombuffer(json.dumps(answer).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    told = np.resize(text, length) if is_first() else np.zeros(length, np.uint8)
    answer = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(told)).tobytes())
    if failure is not None:
        raise failure
    if "error" in answer:
        raise InputError(answer["error"]) if answer["mistake"] else LostProcessError(f"process 0: {answer['error']}")
    return answer["value"]


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process. Every process must call this."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def first_before_the_others(function: Callable[[], T]) -> T:
    """A function's result in each process, called in the first before the rest; the first's ``InputError`` ends all.

    The others find what the first has written to a shared folder. Every process must call this.
    """
    given: list[T] = []
    by_the_first(lambda: given.append(function()))
    return given[0] if given else function()


def says_lost(error: BaseException | None) -> bool:
    """Whether an exchange has failed because another process is gone; JAX raises one or the other built-in error."""
    if jax.process_count() == 1 or isinstance(error, InputError) or not isinstance(error, RuntimeError | ValueError):
        return False
    return any(sign in str(error).lower() for sign in _SIGNS_OF_LOSS)


@contextlib.contextmanager
def noticing_lost_processes() -> Iterator[None]:
    """Turn the failure of an exchange, when a process has died, into one clear error."""
    try:
        yield
    except Exception as error:
        if not says_lost(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise LostProcessError(
            f"process {jax.process_index()} of {jax.process_count()}: another process has ended or cannot be reached "
            f"({reason}); the same command, started again for all of them, resumes from the last checkpoint"
        ) from error
