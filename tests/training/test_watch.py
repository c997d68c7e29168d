"""What ends one of several processes, and where all of them stop: by a service of keys in memory."""

import contextlib
import threading
import time

import pytest

from glintiqa_jax.errors import InputError, LostProcessError
from glintiqa_jax.interruptions import Stop
from glintiqa_jax.training import processes, watch
from glintiqa_jax.training.watch import Watch


class Keys(dict):
    """The coordination service."""

    def key_value_set(self, key, value, allow_overwrite=False):
        assert allow_overwrite or key not in self
        self[key] = value

    def key_value_dir_get(self, key):
        return [(name, value) for name, value in list(self.items()) if name.startswith(key)]

    def blocking_key_value_get(self, key, timeout_in_ms):
        ends = time.monotonic() + timeout_in_ms / 1000
        while key not in self:
            if time.monotonic() > ends:
                raise RuntimeError("DEADLINE_EXCEEDED")
            time.sleep(0.001)
        return self[key]


class EndedError(Exception):
    """In the place of the end of a process."""


@pytest.fixture
def pair(monkeypatch):
    """Two watches whose threads do not run, and what ended them."""
    monkeypatch.setattr(watch, "_LOOK", 0.01)
    keys, ended = Keys(), []

    def end(line, code):
        ended.append((line, code))
        raise EndedError

    both = [Watch(keys, number, 2, end) for number in range(2)]
    for each in both:
        each._beat(0.0)
    return *both, ended


def together(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def told_to_stop(number=15):
    stop = Stop()
    stop.number = number
    stop.set()
    return stop


def test_all_stop_before_the_same_step(pair):
    first, second, _ = pair
    begun = [sum(not each.begin("step") for _ in range(count)) for each, count in ((first, 3), (second, 5))]
    assert begun == [3, 5]
    second.heed(told_to_stop())
    # each of them waits for what the other has begun
    together(lambda: [second.look(0.0) for _ in range(2)], lambda: [time.sleep(0.05), first.look(0.0)])
    assert [first.begin("step") for _ in range(3)] == [0, 0, 15]
    assert second.begin("step") == 15


def test_a_step_that_does_not_end_ends_the_process(pair, monkeypatch):
    first, _, ended = pair
    first.begin("step", limit=0.01)
    first.look(0.0)  # the first of a kind, which compiles, has ten times as long
    first.begin("step", limit=0.01)
    time.sleep(0.02)
    with pytest.raises(EndedError):
        first.look(0.0)
    (line, code), *_ = ended
    assert code == 75
    assert "process 0 of 2: no step and no save came to its end within 0 s" in line
    first.begin("batch", limit=0.001)
    first.rest()
    first.look(0.0)


def test_who_is_told_to_stop_and_does_not_come_ends_by_the_signals_code(pair, monkeypatch):
    monkeypatch.setattr(watch, "GRACE", 0.0)
    first, second, ended = pair
    first.begin("step", limit=100)
    second.begin("step", limit=100)
    first.heed(told_to_stop())

    def look(each):
        with contextlib.suppress(EndedError):
            while True:
                each.look(0.0)

    together(lambda: look(first), lambda: [time.sleep(0.05), look(second)])
    assert [code for _, code in ended] == [143, 143]


def test_who_is_silent_is_lost_and_named(pair):
    first, second, ended = pair
    first.look(0.0)
    second._beat(1.0)
    first.look(40.0)
    first.look(80.0)
    with pytest.raises(EndedError):
        first.look(90.0)
    assert ended == [(f"process 0 of 2: nothing was heard of process 1 for 45 s; {watch._RESUMES}", 75)]


@pytest.mark.parametrize(
    ("error", "kind", "code"), [(InputError("no such folder"), InputError, 2), (OSError("x"), LostProcessError, 1)]
)
def test_one_process_s_mistake_is_the_other_s_message_and_code(pair, error, kind, code):
    first, second, ended = pair
    second.fail(error, code)
    first.look(0.0)
    with pytest.raises(kind, match="process 1: ") as told:
        first.gather("waits for what never comes")
    assert getattr(told.value, "code", 2) == code
    with pytest.raises(EndedError):  # where the main thread waits for a device
        first.look(10.0)
    assert ended[0][1] == code


def test_each_hears_what_all_say(pair):
    first, second, _ = pair
    heard = []
    together(lambda: heard.append(first.gather({"a": 1})), lambda: heard.append(second.gather([2])))
    assert heard == [[{"a": 1}, [2]]] * 2


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        ("Gloo AllGather failed: [pair.cc:547] Connection closed by peer [127.0.0.1]:7310", True),
        ("Gloo all-reduce failed: Timed out waiting 30000ms for recv operation to complete", True),
        ("UNAVAILABLE: failed to connect to all addresses", True),
        ("NCCL operation ncclAllReduce failed: remote process exited or there was a network error", True),
        ("NCCL error: Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000", False),
        ("NCCL operation ncclCommInitRank failed: invalid usage", False),
        ("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes", False),
    ],
)
def test_a_lost_process_is_told_from_other_failures(monkeypatch, words, lost):
    monkeypatch.setattr(processes.jax, "process_count", lambda: 2)
    assert processes.says_lost(RuntimeError(words)) == processes.says_lost(ValueError(words)) == lost
    assert not processes.says_lost(InputError(words))


def test_processes_that_differ_are_named_with_what_differs(monkeypatch):
    said = [{"seed": "0", "jax": "0.10"}, {"seed": "0", "jax": "0.10"}, {"seed": "3", "jax": "0.9"}]
    monkeypatch.setattr(processes, "gather", lambda _: said)
    with pytest.raises(InputError, match=r"process 2 of 3: jax: 0.9 there, 0.10 in process 0; seed: 3 there, 0 in"):
        processes.agree(said[0])


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x4)", "SLURM_GPUS_ON_NODE": "8"}, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)", "SLURM_GPUS_ON_NODE": "8"}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)", "CUDA_VISIBLE_DEVICES": "3", "SLURM_GPUS_ON_NODE": "8"}, [0]),
        ({"SLURM_STEP_TASKS_PER_NODE": "1", "CUDA_VISIBLE_DEVICES": "0,1"}, [0, 1]),
        ({"SLURM_STEP_TASKS_PER_NODE": "1"}, None),
    ],
)
def test_a_slurm_task_takes_the_gpus_that_are_its_own(environment, expected):
    assert processes.slurm_gpus(environment) == expected


def test_gpus_that_would_idle_are_refused():
    with pytest.raises(InputError, match="one Slurm task a node, or one for each of its 8 GPUs, found 2 tasks"):
        processes.slurm_gpus({"SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_GPUS_ON_NODE": "8"})
