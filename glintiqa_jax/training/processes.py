"""Several processes as one run: how they connect, what only the first does, how they agree and end together."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax

from glintiqa_jax.errors import TRY_AGAIN, InputError, LostProcessError
from glintiqa_jax.interruptions import Stopped, abort_as_ever, end_aborted
from glintiqa_jax.progress import TERMINAL, Log
from glintiqa_jax.training.watch import Watch

T = TypeVar("T")
# In what collectives (of Gloo and NCCL) and the coordination service say where a process is gone; other failures of
# theirs, as of memory or of how they are set up, are the process's own.
_SIGNS_OF_LOSS = re.compile(
    r"connection (closed|reset|refused|timed)|timed out|timeout|broken pipe|socket closed|unavailable|heartbeat"
    r"|deadline_exceeded|remote process|ncclremoteerror|coordination service|barrier"
)
_CONNECT = 150  # seconds that a process waits for the others at the start
_HEARTBEAT = 60  # seconds of silence after which JAX counts a process as lost; our own watch is quicker
_UNTIL_SAID = 2.0  # seconds after an exchange has failed in which the process that failed says why


def connect(mode: str, coordinator_address: str = "", num_processes: int = 0, process_id: int = -1) -> None:
    """Find the other processes of a run, before JAX is used for anything else.

    Args:
      mode: "auto" asks the cluster (TPU pods, Slurm, Open MPI, Kubernetes); "off" is one process, unless the rest of
        the arguments say who takes part.
      coordinator_address: HOST:PORT of the first process.
      num_processes: how many there are.
      process_id: this one's number, from 0.

    Raises:
      InputError: for arguments that do not go together, and a cluster that does not say who takes part. A process that
        does not find the others within 150 seconds ends with exit code 75.
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
    jax.config.update("jax_enable_preemption_service", False)  # it would keep SIGTERM from us
    end_aborted(_why_aborted)
    with _ended_after(_CONNECT, f"the other processes were not found within {_CONNECT} s; start all of them again"):
        try:
            jax.distributed.initialize(
                coordinator_address=coordinator_address or None,
                num_processes=num_processes or None,
                process_id=process_id if process_id >= 0 else None,
                local_device_ids=None if all(explicit) else slurm_gpus(os.environ),
                initialization_timeout=2 * _CONNECT,  # JAX would abort
                heartbeat_timeout_seconds=_HEARTBEAT,
                shutdown_timeout_seconds=_HEARTBEAT,
            )
        except (ValueError, RuntimeError) as error:
            field, value = ("coordinator_address", coordinator_address) if all(explicit) else ("distributed", "auto")
            raise InputError(f"the other processes were not found ({error})", field=field, value=value) from error
        several = jax.process_count() > 1  # which waits for their devices
    if several:
        watch()
        atexit.register(_part)
    else:
        abort_as_ever()


def _part() -> None:
    """Leave the others before Python ends: a thread that came back from C++ later would abort the process."""
    try:
        jax.distributed.shutdown()  # waits for the others, so that they must hear of this process until then
    finally:
        watch().end()
        abort_as_ever()


def _why_aborted() -> tuple[str, int]:
    """The line and the code by which a process ends that JAX aborts."""
    if watch.cache_info().currsize and (error := watch().failure()):
        return str(error), getattr(error, "code", 2)
    return (
        "JAX has ended this process, as it does where another one is gone (see above); the same command, started again "
        "for all of them, resumes from the last checkpoint",
        TRY_AGAIN,
    )


@contextlib.contextmanager
def _ended_after(seconds: float, line: str) -> Iterator[None]:
    """End the process where the block, of which C++ is in charge, takes longer."""
    late = threading.Timer(seconds, lambda: (os.write(2, f"error: {line}\n".encode()), os._exit(TRY_AGAIN)))
    late.daemon = True
    late.start()
    try:
        yield
    finally:
        late.cancel()


def slurm_gpus(environment: Mapping[str, str]) -> list[int] | None:
    """The GPUs of this Slurm task, by their numbers among those that it sees; None leaves it to JAX, which takes the
    one of the task's number on its node.

    Raises:
      InputError: where neither one task has all GPUs of a node nor each task one, so that some would idle.
    """
    tasks = re.match(
        r"\d+", environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_TASKS_PER_NODE", "")
    )
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    of_node = environment.get("SLURM_GPUS_ON_NODE", "")
    gpus = len([each for each in visible.split(",") if each]) if visible else int(of_node) if of_node.isdigit() else 0
    if tasks is None or not gpus:
        return None
    if gpus == 1 or int(tasks[0]) == 1:
        return list(range(gpus))
    if int(tasks[0]) == gpus:
        return None
    raise InputError(
        field="distributed",
        value="auto",
        expected=f"one Slurm task a node, or one for each of its {gpus} GPUs",
        found=f"{tasks[0]} tasks",
    )


@functools.cache
def watch() -> Watch:
    """The watch over this process, from its connection on; there are several."""
    from jax._src import distributed  # JAX shows its client nowhere else

    keys = distributed.global_state.client
    assert keys is not None  # there are several processes
    return Watch(keys, jax.process_index(), jax.process_count()).start()


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
    if not is_first():
        answer = json.loads(watch().told_by_the_first(None))
        if "error" in answer:
            raise (
                InputError(answer["error"])
                if answer["mistake"]
                else LostProcessError(f"process 0: {answer['error']}", code=1)
            )
        return answer["value"]
    try:
        value = function()
    except Exception as error:
        watch().told_by_the_first(json.dumps({"error": str(error), "mistake": isinstance(error, InputError)}))
        raise
    watch().told_by_the_first(json.dumps({"value": value}))
    return value


def gather(value: Any) -> list[Any]:
    """The value of every process, in their order; one that JSON has. Every process must call this."""
    return [value] if jax.process_count() == 1 else watch().gather(value)


def agree(facts: Mapping[str, Any]) -> None:
    """Whether the same facts hold for all processes. Every process must call this.

    Raises:
      InputError: names a process and the facts in which it differs from the first, in all of them.
    """
    first, *others = gather({name: str(value) for name, value in facts.items()})
    for number, other in enumerate(others, start=1):
        differ = [
            f"{name}: {other.get(name)} there, {first.get(name)} in process 0"
            for name in sorted(first.keys() | other.keys())
            if first.get(name) != other.get(name)
        ]
        if differ:
            raise InputError(
                expected="processes that do the same",
                found=f"another run in process {number} of {1 + len(others)}: {'; '.join(differ)}",
            )


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
    return _SIGNS_OF_LOSS.search(str(error).lower()) is not None


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """Where one process fails all end by its error; where one has died the others say so, in one line."""
    try:
        yield
    except Stopped:  # all of them
        raise
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        lost, told = says_lost(error), None
        if not isinstance(error, InputError | LostProcessError | KeyboardInterrupt):
            told = watch().failure(_UNTIL_SAID if lost else 0)
        if lost and told is None:
            reason = " ".join(str(error).split())[:200]
            told = LostProcessError(
                f"process {jax.process_index()} of {jax.process_count()}: another process has ended or cannot be "
                f"reached ({reason}); the same command, started again for all of them, resumes from the last checkpoint"
            )
        watch().fail(told or error, _exit_code(told or error))
        if told:
            raise told from error
        raise


def _exit_code(error: BaseException) -> int:
    """What a command ends with by this error."""
    if isinstance(error, InputError):
        return 2
    if isinstance(error, KeyboardInterrupt):
        return 128 + getattr(signal.Signals, str(error) or "SIGINT", signal.SIGINT)
    return getattr(error, "code", 1)
