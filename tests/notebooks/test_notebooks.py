"""The notebooks: each runs from top to bottom, says first what it is for, and uses nothing but the library's faces."""

import ast
import importlib
import re
from pathlib import Path

import nbformat
import pytest
from conftest import heard
from nbclient import NotebookClient

import glintiqa_jax

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def statements(notebook) -> list[ast.AST]:
    """Every node of every cell's code."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return [node for source in code for node in ast.walk(ast.parse(source))]


def test_there_are_five():
    assert [path.name[0] for path in NOTEBOOKS] == list("12345")


def test_it_is_valid_and_holds_no_output(notebook):
    nbformat.validate(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:  # jupyter nbconvert --clear-output --inplace notebooks/*.ipynb
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_it_opens_with_what_it_teaches_needs_and_takes(notebook):
    first = notebook.cells[0].source
    assert first.startswith("# ")
    assert all(f"- **{what}** " in first for what in ("You learn", "You need", "It takes"))


def test_it_uses_the_librarys_faces(notebook):
    """``giq.NAME``, and what a room exports; no module below a room, and no private name."""
    for node in statements(notebook):
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_"), node.attr
            if isinstance(node.value, ast.Name) and node.value.id == "giq":
                assert node.attr in glintiqa_jax.__all__
        elif isinstance(node, ast.Import):
            ours = [alias for alias in node.names if alias.name.startswith("glintiqa_jax")]
            assert all((alias.name, alias.asname) == ("glintiqa_jax", "giq") for alias in ours)
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("glintiqa_jax"):
            assert node.module.count(".") == 1
            assert {alias.name for alias in node.names} <= {*importlib.import_module(node.module).__all__}


@pytest.mark.slow
@pytest.mark.compiled_for_users
def test_it_runs_without_a_warning(notebook, tmp_path):
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = [output.text for output in outputs if output.get("name") == "stderr"]  # progress, and messages
    assert not re.search("warning|error|traceback", heard("".join(said)), re.IGNORECASE)
    assert any("image/png" in output.get("data", {}) for output in outputs)
