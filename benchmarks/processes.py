"""A fresh process for each measurement, which nothing that ran before disturbs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def in_a_process(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """``function(*arguments)`` in a process that no thread, cache or memory of an earlier one disturbs.

    When it ends it gives the devices back.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()
