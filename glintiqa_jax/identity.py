"""Digests of code: a cached result of other code is never taken for this code's."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterable
from types import ModuleType


def digest(facts: object, code: Iterable[ModuleType | Callable]) -> str:
    """SHA-256 of facts, by their ``repr``, and of the code of some modules or functions.

    Libraries below are not in it: their versions are facts where they matter.
    """
    return hashlib.sha256(repr((facts, sorted(set(map(code_of, code))))).encode()).hexdigest()


def code_of(code: ModuleType | Callable) -> str:
    """The code of a whole module, that of a function's for a function, without comments, docstrings and layout.

    Of a function that is in no module's file, as in a notebook, it is the function's alone.
    """
    try:
        text = inspect.getsource(inspect.getmodule(code))  # type: ignore[arg-type]
    except (OSError, TypeError):
        text = textwrap.dedent(inspect.getsource(code))
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
