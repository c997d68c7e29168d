"""The watch over one of several processes: nobody waits for ever, all stop at one place, one's mistake is everyone's.

A thread of each process tells the others, by the keys of JAX's coordination service, that it lives, that it has failed,
that a signal has told it to stop. It ends the process where the others would be waited for in vain.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from glintiqa_jax.errors import TRY_AGAIN, InputError, LostProcessError
from glintiqa_jax.interruptions import Stop

_ROOM = "glintiqa_jax/watch/"
_TOLD = "glintiqa_jax/told/"
_LOOK = 0.5  # seconds between two looks at what the others say
_BEAT = 5.0  # seconds between two signs of life
SILENT = 45.0  # seconds without a sign of life after which a process counts as lost; JAX's own limit is longer
GRACE = 25.0  # seconds that a process has to come to where all stop; schedulers kill after 30
_UNWINDING = 4.0  # seconds that a process has to end by itself once another has failed
_HEARD = 5.0  # seconds that the first process, which keeps the keys, waits for all to have read why it fails
_COMPILING = 10  # times as long as another may the first unit of work of a kind take
_RESUMES = "the same command, started again for all of them, resumes from the last checkpoint"


class Keys(Protocol):
    """What is used of JAX's client of the coordination service."""

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None: ...

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]: ...

    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str: ...


class Watch:
    """The watch over this process, one of several; nothing is watched before ``start``.

    Args:
      keys: the coordination service's client.
      process: this one's number.
      processes: how many there are.
      end: ends the process with a line and an exit code.
    """

    def __init__(self, keys: Keys, process: int, processes: int, end: Callable[[str, int], Any] | None = None):
        self.process, self.processes = process, processes
        self._keys, self._end = keys, end or _end
        self._lock = threading.Lock()  # held while the processes agree on where they stop
        self._begun, self._last, self._number = 0, math.inf, 0
        self._limit, self._deadline, self._compiled = 0.0, math.inf, set[str]()
        self._stop: Stop | None = None
        self._failed: dict[int, dict[str, Any]] = {}  # what the others that failed say of it
        self._failed_at, self._is_failing = math.inf, False
        self._heard: dict[int, tuple[str, float]] = {}  # of each other process the last sign of life, and when it came
        self._rounds = itertools.count()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> Watch:
        """Watch until ``end``."""
        self._beat(time.monotonic())
        self._thread.start()
        return self

    def end(self) -> None:
        """Watch no longer."""
        self._ended.set()
        self._thread.join(_UNWINDING)

    # What the main thread calls.

    def begin(self, kind: str, limit: float = 0.0) -> int:
        """Begin a unit of work that all processes do together, such as a step; returns the signal's number, and does
        not begin, where all stop before it, else 0.

        Args:
          kind: of the unit; the first of a kind may take ten times as long, as it is compiled.
          limit: seconds in which it must have ended, and the next begun; 0: none.
        """
        with self._lock:
            if self._begun >= self._last:
                self._deadline = math.inf
                return self._number
            self._begun += 1
            self._limit = limit * (1 if kind in self._compiled else _COMPILING)
            self._compiled.add(kind)
            self._deadline = time.monotonic() + self._limit if limit else math.inf
            return 0

    def rest(self) -> None:
        """No unit of work is expected any more."""
        self._deadline = math.inf

    def heed(self, stop: Stop | None) -> None:
        """A signal that sets this event stops all processes before a unit of work; None: no more."""
        self._stop = stop

    def gather(self, value: Any) -> list[Any]:
        """What each process says, in their order, as JSON has it. Every process must call this."""
        number = next(self._rounds)
        self._keys.key_value_set(f"{_TOLD}{number}/{self.process}", json.dumps(value))
        return [json.loads(self._wait_for(f"{_TOLD}{number}/{each}")) for each in range(self.processes)]

    def told_by_the_first(self, text: str | None) -> str:
        """What the first process says, who alone gives a text. Every process must call this."""
        key = f"{_TOLD}{next(self._rounds)}/first"
        if text is None:
            return self._wait_for(key)
        self._keys.key_value_set(key, text)
        return text

    def fail(self, error: BaseException, code: int) -> None:
        """Tell the others that this process ends by an error, which then end by it as well; once.

        The service ends with the first process, which therefore waits until the others have heard of it.
        """
        if self._is_failing:
            return
        self._is_failing = True
        words = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        if isinstance(error, KeyboardInterrupt):
            words = f"{error or 'SIGINT'} has ended it; {_RESUMES}"
        said = {"words": " ".join(words.split())[:2000], "code": code, "mistake": isinstance(error, InputError)}
        with contextlib.suppress(Exception):  # the service may be what is lost
            self._keys.key_value_set(f"{_ROOM}failed/{self.process}", json.dumps(said))
            ends = time.monotonic() + _HEARD
            while self.process == 0 and time.monotonic() < ends and not self._all_know():
                time.sleep(0.1)

    def _all_know(self) -> bool:
        return len([name for name in self._said() if name.startswith(("heard/", "failed/"))]) >= self.processes

    def failure(self, seconds: float = 0.0) -> Exception | None:
        """The error by which another process has ended, waited for so many seconds; None where there is none."""
        ends = time.monotonic() + seconds
        while not self._failed and time.monotonic() < ends:
            time.sleep(0.1)
        for process, said in sorted(self._failed.items()):
            line = f"process {process}: {said['words']}"
            return InputError(line) if said["mistake"] else LostProcessError(line, said["code"])
        return None

    def _wait_for(self, key: str) -> str:
        while True:
            if error := self.failure():
                raise error
            try:
                return self._keys.blocking_key_value_get(key, int(1000 * _LOOK))
            except Exception as error:
                if "DEADLINE" not in str(error):
                    raise

    # What the thread does.

    def _watch(self) -> None:
        lost, beaten = math.inf, time.monotonic()
        while not self._ended.wait(_LOOK):
            now = time.monotonic()
            try:
                if now - beaten >= _BEAT:
                    self._beat(now)
                    beaten = now
                self.look(now)
                lost = math.inf
            except Exception as error:  # of the service, when the first process is gone; JAX itself mostly ends us then
                lost = min(lost, now)
                if now - lost > SILENT:
                    self._end_lost(f"the first process cannot be reached ({' '.join(str(error).split())[:200]})")

    def look(self, now: float) -> None:
        """One look at what the others say, and at the clock."""
        said = self._said()
        for process in range(self.processes):
            beat = said.get(f"alive/{process}", "")
            if process != self.process and (process not in self._heard or self._heard[process][0] != beat):
                self._heard[process] = (beat, now)
        silent = [process for process, (_, heard) in self._heard.items() if now - heard > SILENT]
        if silent:
            self._end_lost(f"nothing was heard of {_named(silent)} for {SILENT:.0f} s")
        self._look_for_failures(said, now)
        if self._stop is not None and self._stop.is_set() and f"stop/{self.process}" not in said:
            self._keys.key_value_set(f"{_ROOM}stop/{self.process}", str(self._stop.number))
        stops = [value for name, value in sorted(said.items()) if name.startswith("stop/")]
        if stops and self._last == math.inf:
            self._agree_where_to_stop(int(stops[0]))
        if time.monotonic() > self._deadline:
            self._end_late(said)

    def _look_for_failures(self, said: dict[str, str], now: float) -> None:
        mine = f"failed/{self.process}"
        failed = {name: value for name, value in said.items() if name.startswith("failed/") and name != mine}
        if failed and not self._failed:
            self._failed = {int(name.rpartition("/")[2]): json.loads(value) for name, value in failed.items()}
            self._failed_at = now
            if mine not in said:
                self._keys.key_value_set(f"{_ROOM}heard/{self.process}", "")
        if now - self._failed_at > _UNWINDING and not self._is_failing:
            error = self.failure()
            self._end(str(error), getattr(error, "code", 2))

    def _agree_where_to_stop(self, number: int) -> None:
        """All stop when they have begun as many units of work as whoever has begun most."""
        with self._lock:
            self._keys.key_value_set(f"{_ROOM}begun/{self.process}", str(self._begun))
            ends = time.monotonic() + SILENT
            while len(begun := self._said("begun")) < self.processes:
                if time.monotonic() > ends:
                    self._end_lost("the processes did not agree on where to stop")
                time.sleep(0.05)
            self._last, self._number = max(map(int, begun.values())), number
            if self._deadline < math.inf:
                self._limit, self._deadline = GRACE, time.monotonic() + GRACE

    def _end_late(self, said: dict[str, str]) -> None:
        if self._number:
            self._end(
                f"process {self.process} of {self.processes}: told to stop, not there after {GRACE:.0f} s; {_RESUMES}",
                128 + self._number,
            )
        begun = {each: int(said.get(f"alive/{each}", "0 0").split()[1]) for each in range(self.processes)}
        last = [each for each, count in begun.items() if count == min(begun.values())]
        behind = f"; {_named(last)} furthest behind" if len(last) < self.processes else ""
        late = f"no step and no save came to its end within {self._limit:.0f} s{behind}"
        self._end_lost(f"{late}; a larger step_timeout allows more")

    def _end_lost(self, why: str) -> None:
        self._end(f"process {self.process} of {self.processes}: {why}; {_RESUMES}", TRY_AGAIN)

    def _beat(self, now: float) -> None:
        self._keys.key_value_set(f"{_ROOM}alive/{self.process}", f"{now} {self._begun}", allow_overwrite=True)

    def _said(self, kind: str = "") -> dict[str, str]:
        """The keys of a kind, without what they begin with."""
        return {
            key[key.index(_ROOM) + len(_ROOM) :]: value for key, value in self._keys.key_value_dir_get(_ROOM + kind)
        }


def _named(processes: list[int]) -> str:
    shown = ", ".join(map(str, sorted(processes)[:8]))
    return f"process{'es' * (len(processes) > 1)} {shown}{' and others' * (len(processes) > 8)}"


def _end(line: str, code: int) -> NoReturn:
    os.write(2, f"error: {line}\n".encode(errors="backslashreplace"))
    os._exit(code)
