"""Digests of code: a cached result of other code is never taken for this code's, nor a run for another function's."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from glintiqa_jax.errors import InputError


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
    return _without_comments(text)


def _without_comments(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def function_id(function: Callable) -> str:
    """A function's name and a digest of what it computes: ``my.module.loss@d1f0c2...``.

    The digest is of its code, its defaults, the variables and functions of its module that it uses, the arguments of a
    ``partial`` and the attributes of an object.

    Raises:
      InputError: for an attribute or a variable that cannot be told from another one.
    """
    found = _facts(function, set())
    named = inspect.unwrap(function)
    while not hasattr(named, "__qualname__"):
        named = getattr(named, "func", None) or getattr(named, "function", None) or type(named)
    return f"{named.__module__}.{named.__qualname__}@{hashlib.sha256(repr(found).encode()).hexdigest()[:12]}"


def _facts(value: Any, seen: set[int]) -> Any:
    """Plain values that differ where functions, or what they use, differ."""
    if isinstance(value, functools.partial):
        return "partial", _facts((value.func, value.args, value.keywords), seen)
    if isinstance(value, MethodType):
        return "method", _facts((value.__func__, value.__self__), seen)
    if isinstance(value, tuple | list):
        return [_facts(each, seen) for each in value]
    if isinstance(value, dict):
        return [(str(name), _facts(value[name], seen)) for name in sorted(value, key=str)]
    if isinstance(value, ModuleType | type):
        return value.__name__
    if hasattr(value, "__array__"):
        return str(value.dtype), value.shape, value.tolist()
    function = inspect.unwrap(value) if callable(value) else value  # of what is jitted
    if not hasattr(function, "__dict__"):
        if " at 0x" in repr(value):
            expected = "a function of plain values, arrays and functions"
            raise InputError(expected=expected, found=f"one that uses {value!r}")
        return repr(value)
    if id(function) in seen:
        return "again"
    seen.add(id(function))
    if isinstance(function, FunctionType):
        used, defaults = inspect.getclosurevars(function), (function.__defaults__, function.__kwdefaults__)
        own = {name: _of_module(each, function.__module__) for name, each in used.globals.items()}
        return function.__qualname__, _code(function), _facts((defaults, dict(used.nonlocals), own), seen)
    kind = type(function)
    classes = [each for each in kind.__mro__ if each.__module__ == kind.__module__]
    methods = {name: each for one in reversed(classes) for name, each in vars(one).items() if _is_written(name, each)}
    return kind.__qualname__, _facts((methods, vars(function)), seen)


def _of_module(value: Any, module: str) -> Any:
    """A value; of a function or class of another module, which a digest does not follow, its name."""
    elsewhere = hasattr(value, "__qualname__") and value.__module__ != module
    return f"{value.__module__}.{value.__qualname__}" if elsewhere else value


def _is_written(name: str, value: Any) -> bool:
    """Whether an attribute of a class is a method that computes, rather than one that Python or dataclasses add."""
    return isinstance(value, FunctionType) and (name == "__call__" or not name.startswith("__"))


def _code(function: FunctionType) -> Any:
    """A function's text without comments; compiled where it has none of its own, as a lambda within a line."""
    try:
        if function.__name__ != "<lambda>":
            return _without_comments(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        pass
    return _compiled(function.__code__)


def _compiled(code: CodeType) -> Any:
    constants = [_compiled(each) if isinstance(each, CodeType) else each for each in code.co_consts]
    return code.co_code, code.co_names, constants
