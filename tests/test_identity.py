"""Functions that compute differently have different identities, and the same ones the same in another process."""

import functools
import subprocess
import sys

import jax
import numpy as np
import pytest

from glintiqa_jax.errors import InputError
from glintiqa_jax.identity import function_id
from glintiqa_jax.training.losses import Loss, l1_loss, plcc_loss

POWER = 2


def helper(x):
    return x**POWER


def scaled(predicted, target, by=1.0):
    return by * helper(predicted - target).mean()


def of_power(power):
    def loss(predicted, target):
        return (abs(predicted - target) ** power).mean()

    return loss


class Weighted:
    def __init__(self, weight):
        self.weight = weight

    def __call__(self, predicted, target):
        return self.weight * scaled(predicted, target)


def typed_in(expression):
    """A function without a file, as in a shell."""
    names = {}
    exec(f"def loss(predicted, target):\n    return {expression}", names)
    return names["loss"]


def functions():
    return {
        "function": scaled,
        "another": plcc_loss,
        "a row": Loss(scaled),
        "a row that ranks": Loss(scaled, ranks=True),
        "a row of another": Loss(l1_loss),
        "bound once": functools.partial(scaled, by=1),
        "bound otherwise": functools.partial(scaled, by=2),
        "closure": of_power(1),
        "another closure": of_power(2),
        "lambda": lambda p, t: abs(p - t).mean(),
        "another lambda": lambda p, t: abs(p - t).sum(),
        "object": Weighted(1.0),
        "another object": Weighted(np.ones(2)),
        "method": Weighted(2.0).__call__,
        "typed in": typed_in("abs(predicted - target).mean()"),
        "typed in otherwise": typed_in("abs(predicted + target).mean()"),
    }


def test_different_functions_have_different_identities():
    found = {name: function_id(function) for name, function in functions().items()}
    assert len(set(found.values())) == len(found)
    assert found["function"].startswith("test_identity.scaled@")
    assert found["a row"].startswith("test_identity.scaled@")
    assert found == {name: function_id(function) for name, function in functions().items()}
    assert function_id(jax.jit(scaled)) == found["function"]


def test_what_a_function_uses_is_in_its_identity(monkeypatch):
    before = function_id(scaled), function_id(Weighted(1.0))
    monkeypatch.setattr(sys.modules[__name__], "POWER", 3)
    assert not {function_id(scaled), function_id(Weighted(1.0))} & set(before)


def test_another_process_finds_the_same():
    code = "import test_identity as t; print(*sorted(map(t.function_id, t.functions().values())), sep='\\n')"
    path = [*sys.path, str(sys.modules[__name__].__file__).rpartition("/")[0]]
    said = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path}; {code}"], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == sorted(map(function_id, functions().values()))


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(InputError, match=r"expected a function of plain values, .*, found one that uses <object"):
        function_id(functools.partial(scaled, by=object()))
