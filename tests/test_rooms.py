"""Which room may import which, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "glintiqa_jax"
# A room may import itself and the rooms listed for it. CONTRIBUTING.md draws the same picture.
MAY_IMPORT = {
    "errors": set(),
    "version": set(),
    "identity": set(),
    "settings": {"errors"},
    "interruptions": {"errors", "progress"},
    "compilation": set(),
    "progress": {"errors"},
    "models": {"errors", "settings"},
    "sharding": {"errors", "compilation"},
    "data": {"errors", "settings", "progress", "interruptions"},
    "saqt": {
        "errors",
        "identity",
        "settings",
        "progress",
        "interruptions",
        "compilation",
        "data",
        "models",
        "sharding",
    },
    "evaluation": {
        "errors",
        "identity",
        "settings",
        "progress",
        "interruptions",
        "compilation",
        "data",
        "models",
        "sharding",
    },
    "datasets": {"errors", "settings", "progress", "data", "saqt"},
    "training": {
        "datasets",
        "errors",
        "settings",
        "progress",
        "interruptions",
        "compilation",
        "data",
        "models",
        "sharding",
        "saqt",
        "evaluation",
    },
    "scoring": {
        "datasets",
        "errors",
        "settings",
        "progress",
        "interruptions",
        "data",
        "models",
        "sharding",
        "evaluation",
        "training",
    },
    "protocols": {
        "datasets",
        "errors",
        "settings",
        "progress",
        "interruptions",
        "data",
        "models",
        "sharding",
        "evaluation",
        "training",
        "scoring",
    },
    "command_line": {"errors", "progress", "interruptions", "data", "evaluation"},
    "__init__": {"datasets", "models", "scoring", "version"},
}
FORBIDDEN = {
    "data": {"jax", "flax", "optax", "orbax"},
    "saqt": set(),
}
EVERYWHERE_FORBIDDEN = {"torch", "tensorflow", "experiments"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "glintiqa_jax"}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_one_way(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imports(path):
        top, *rest = name.split(".")
        assert top not in EVERYWHERE_FORBIDDEN | FORBIDDEN.get(room, set()), f"{path} imports {name}"
        if top == "glintiqa_jax" and rest and rest[0] != room:
            assert rest[0] in MAY_IMPORT[room], f"{path} imports {name}, which {room} may not"


def test_everything_is_compiled_in_one_way():
    """By ``compilation.jit``, which knows the compilers that are wrong with their defaults."""
    for path in PACKAGE.rglob("*.py"):
        nodes = [
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)
        ]
        calls = {ast.unparse(node) for node in nodes} & {"jax.jit", "nnx.jit", "jax.pmap"}
        assert not calls or path.name == "compilation.py", f"{path}: {calls}"


def test_every_room_is_in_the_picture():
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__pycache__"} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("glintiqa_jax", ["jax", "flax", "tensorflow_datasets", "matplotlib", "skimage"]),
        # Grain itself imports jax and Orbax; the static test above holds that we do not
        ("glintiqa_jax.data.pipeline", ["flax", "optax", "torch", "tensorflow"]),
        ("glintiqa_jax.training.loop", ["torch", "tensorflow"]),
    ],
)
def test_importing_stays_light(module, heavy):
    code = f"import sys, {module}; print(*[name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == []
