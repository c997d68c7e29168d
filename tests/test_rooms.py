"""Which room may import which, and what importing costs."""

import ast
import re
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
    "options": {"errors", "settings"},
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
    "training": {
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
    "recipes": {"errors", "settings", "options", "models", "training"},
    "cli": {
        "errors",
        "version",
        "options",
        "progress",
        "interruptions",
        "data",
        "models",
        "saqt",
        "evaluation",
        "training",
        "scoring",
        "protocols",
        "recipes",
    },
    "__init__": {"models", "scoring", "version"},
}
FORBIDDEN = {
    "data": {"jax", "flax", "optax", "orbax"},
    "saqt": set(),
}
EVERYWHERE_FORBIDDEN = {"torch", "tensorflow", "experiments"}
# Rooms that are the command line, whose words and libraries nothing below them knows.
COMMAND_LINE = {"cli", "recipes"}
SPEAKS_OF_FLAGS = re.compile(r"(?<![\w-])--[a-z][\w-]*|experiments/")
OTHER_PROGRAMS = {"--shm-size", "--error-unmatch", "--porcelain", "--untracked-files"}  # docker's and git's flags


BELOW = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] not in COMMAND_LINE]
NOT_CONVERTED_YET = {
    "data/builder.py",
    "data/cache.py",
    "data/catalog.py",
    "data/lock.py",
    "data/mixture.py",
    "data/pipeline.py",
    "data/readers/__init__.py",
    "data/readers/own.py",
    "data/readers/synthetic.py",
    "data/source.py",
    "data/source_folder.py",
    "data/splits.py",
    "errors.py",
    "evaluation/card.py",
    "evaluation/baselines.py",
    "evaluation/prediction.py",
    "protocols/ablations.py",
    "protocols/cross_dataset.py",
    "protocols/rounds.py",
    "protocols/runs.py",
    "saqt/distortions/documentation.py",
    "saqt/features.py",
    "saqt/generation.py",
    "saqt/labelling.py",
    "saqt/on_beam.py",
    "saqt/on_the_fly.py",
    "saqt/photographs.py",
    "saqt/transfer.py",
    "scoring/convert.py",
    "scoring/evaluate.py",
    "scoring/scorer.py",
    "sharding.py",
    "training/checkpoints.py",
    "training/config.py",
    "training/dataset.py",
    "training/loop.py",
    "training/optimiser.py",
    "training/processes.py",
    "training/run.py",
    "training/step.py",
    "training/storage.py",
    "training/workdir.py",
}


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


def strings(path: Path) -> list[str]:
    """The text of every literal, those in f-strings and documentation among them."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


@pytest.mark.parametrize("path", BELOW, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_knows_flags(path):
    """Messages name fields, which ``cli/`` turns into flags; only it parses flags, with absl."""
    if str(path.relative_to(PACKAGE)) not in NOT_CONVERTED_YET:
        assert not {found for text in strings(path) for found in SPEAKS_OF_FLAGS.findall(text)} - OTHER_PROGRAMS
        assert not {name for name in imports(path) if name.split(".")[0] == "absl"}


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
