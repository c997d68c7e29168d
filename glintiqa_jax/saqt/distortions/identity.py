"""What the distortions do, as a digest: images that were made otherwise are not taken for these."""

import ast
import hashlib
import inspect
from pathlib import Path
from types import ModuleType

from glintiqa_jax.saqt.distortions import colour_spaces, procedure
from glintiqa_jax.saqt.distortions.table import DISTORTIONS


def identity() -> str:
    """A digest of the table, and of the code that it and the database's procedure call.

    The code is that of whole modules without comments, docstrings and layout. Libraries below are not in it: their
    versions differ by a rounding here and there.
    """
    rows = [(row.number, row.name, row.levels, row.function.__qualname__, row.random) for row in DISTORTIONS]
    files = {inspect.getsourcefile(row.function) or "" for row in DISTORTIONS}
    files |= {module.__file__ or "" for module in (colour_spaces, procedure)}
    code = sorted(code_of(file) for file in files)
    return hashlib.sha256(repr((rows, code)).encode()).hexdigest()


def code_of(module: ModuleType | str) -> str:
    """The code of a module, or in a file, as ``ast`` writes it."""
    path = module if isinstance(module, str) else module.__file__ or ""
    tree = ast.parse(Path(path).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
