"""Which room may import which, and what importing costs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "glintiqa_jax"
# From below to above: a room may import itself and what stands before it. CONTRIBUTING.md has the same table.
ROOMS = (
    *("errors", "version", "lazily", "identity", "settings", "options", "progress", "interruptions"),
    *("compilation", "cores"),
    *("models", "data", "sharding", "saqt", "exporting", "scoring", "engines", "gallery", "evaluation", "datasets"),
    *("training", "protocols"),
    *("face", "recipes", "__init__", "cli"),
)
# What stands side by side.
APART = {
    "data": {"models", "compilation", "cores"},
    "models": {"progress", "interruptions", "options", "cores"},
    "exporting": {"models", "saqt"},
    "scoring": {"saqt"},
    "engines": {"models", "saqt", "exporting"},
    "gallery": {"models", "saqt"},
    "evaluation": {"saqt"},
    "datasets": {"models", "scoring", "evaluation"},
    "training": {"datasets", "options"},
    "protocols": {"saqt", "options"},
}
FORBIDDEN = {
    "data": {"jax", "flax", "optax", "orbax"},
    "saqt": set(),
}
EVERYWHERE_FORBIDDEN = {"torch", "tensorflow", "experiments"}
# Rooms that are the command line, whose words and libraries nothing below them knows.
COMMAND_LINE = {"cli", "recipes"}
READS_FLAGS = {"data/pipeline.py"}  # as Grain does when it starts worker processes
SPEAKS_OF_FLAGS = re.compile(r"(?<![\w-])--[a-z][\w-]*|experiments/")
OTHER_PROGRAMS = {"--shm-size", "--error-unmatch", "--porcelain", "--untracked-files"}  # docker's and git's flags


BELOW = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] not in COMMAND_LINE]


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
            below = set(ROOMS[: ROOMS.index(room)]) - APART.get(room, set())
            assert rest[0] in below, f"{path} imports {name}, which {room} may not"


def test_everything_is_compiled_in_one_way():
    """By ``compilation.jit``, which knows the compilers that are wrong with their defaults."""
    for path in PACKAGE.rglob("*.py"):
        nodes = [
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)
        ]
        calls = {ast.unparse(node) for node in nodes} & {"jax.jit", "nnx.jit", "jax.pmap"}
        assert not calls or path.name == "compilation.py", f"{path}: {calls}"


def strings(path: Path) -> list[str]:
    """The text of every literal, those in f-strings and documentation among them."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


@pytest.mark.parametrize("path", BELOW, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_knows_flags(path):
    """Messages name fields, which ``cli/`` turns into flags; only it parses flags, with absl."""
    assert not {found for text in strings(path) for found in SPEAKS_OF_FLAGS.findall(text)} - OTHER_PROGRAMS
    if path.relative_to(PACKAGE).as_posix() not in READS_FLAGS:
        assert not {name for name in imports(path) if name.split(".")[0] == "absl"}


def test_every_room_is_in_the_picture():
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__pycache__", "pretrained"} == set(ROOMS)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("glintiqa_jax", ["jax", "flax", "tensorflow_datasets", "matplotlib", "skimage"]),
        ("glintiqa_jax.models", ["jax", "flax"]),
        # Grain itself imports jax and Orbax; the static test above holds that we do not
        ("glintiqa_jax.data.pipeline", ["flax", "optax", "torch", "tensorflow"]),
        ("glintiqa_jax.training.training", ["torch", "tensorflow"]),
    ],
)
def test_importing_stays_light(module, heavy):
    code = f"import sys, {module}; print(*[name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == []


def test_contributing_tours_the_rooms_in_their_order():
    text = PACKAGE.with_name("CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    rooms = [(re.findall(r"`(\w+)`", row[0]), set(re.findall(r"`(\w+)`", row[-1]))) for row in rows]
    assert [name for names, _ in rooms for name in names] == list(ROOMS)
    assert {name: apart for names, apart in rooms for name in names if apart} == APART
