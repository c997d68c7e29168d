"""The documentation says what the code has: public names, commands whose flags exist, tests and files that are there.

``tests/test_readme.py`` runs the commands of the pages in its list; here all others are read by the flag parser.
"""

import configparser
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from absl import flags
from test_readme import PAGES, blocks

import glintiqa_jax as giq
from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.main import JOBS
from glintiqa_jax.cli.run import define_common
from glintiqa_jax.recipes.flagfiles import expanded

ROOT = Path(__file__).resolve().parents[1]
API = ROOT / "docs" / "reference" / "api"
# Packages that have a list of public names, and the page of the reference that has an entry of each.
FACES = {
    **{
        name: name
        for name in (
            *("data", "datasets", "engines", "evaluation", "exporting", "gallery", "models", "protocols", "saqt"),
            *("scoring", "training"),
        )
    },
    "models.backbones": "models",
    "saqt.distortions": "saqt",
}


MADE = ("reference/commands/", "reference/databases", "reference/recipes")


def made(path: Path) -> bool:
    """Whether a page is made by code."""
    place = path.resolve().relative_to(ROOT).as_posix()
    return place.startswith(tuple(f"docs/{name}" for name in ("example/", *MADE)))


WRITTEN = [
    *ROOT.glob("*.md"),
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if not made(path)),
]


@pytest.mark.parametrize("face", FACES)
def test_every_public_name_is_in_the_reference(face):
    page = (API / f"{FACES[face]}.md").read_text(encoding="utf-8")
    entries = set(re.findall(r"^\.\. (?:auto\w+|py:class|py:data):: (\w+)\b", page, flags=re.MULTILINE))
    assert set(importlib.import_module(f"glintiqa_jax.{face}").__all__) - entries == set()


def test_every_name_of_the_library_is_in_its_table():
    page = (API / "index.md").read_text(encoding="utf-8")
    assert set(giq.__all__) == set(re.findall(r"^\| (?:\{py:\w+\})?`(\w+)", page, flags=re.MULTILINE))


def test_no_package_with_public_names_is_left_out():
    package = ROOT / "glintiqa_jax"
    packages = {path.parent for path in package.rglob("__init__.py") if "__all__ =" in path.read_text(encoding="utf-8")}
    found = {".".join(path.relative_to(package).parts) for path in packages}
    assert found | set(FACES) == {*FACES, ""}


def test_examples_in_docstrings_are_run():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    modules = sorted((ROOT / "glintiqa_jax").rglob("*.py"))
    examples = [path.relative_to(ROOT).as_posix() for path in modules if ">>>" in path.read_text(encoding="utf-8")]
    assert setup["tool:pytest"]["testpaths"].split() == ["tests", *examples]


def calls(block: str) -> Iterator[list[str]]:
    """The jobs that the commands of a block run, each with its arguments."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        call: list[str] = []
        for word in [*words, ";"]:
            script = re.fullmatch(r"experiments/(\w+)\.py", word)
            if set(word) <= set("|&;()<>"):
                if call:
                    yield call
                call = []
            elif call:
                call.append(word)
            elif script:
                call = [script[1]]
            elif word == "glintiqa":
                call = [word]
            elif " " in word:  # as in --command="cd folder && python ..."
                yield from calls(word)


def parsed(call: list[str]) -> None:
    """Read a call's flags as the command does."""
    job, *arguments = call[1:] if call[0] == "glintiqa" else call
    assert job.replace("-", "_") in JOBS, call
    module = importlib.import_module(f"glintiqa_jax.cli.jobs.{job.replace('-', '_')}")
    values = Flags()
    module.define(values)
    define_common(values)
    _, *rest = values(["", *expanded(arguments)])
    assert not rest or hasattr(module, "ARGUMENTS"), call


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_have_the_flags_that_their_jobs_have(path, monkeypatch):
    monkeypatch.chdir(ROOT)  # where the flag files are
    text = path.read_text(encoding="utf-8")
    for language in ("bash", "console"):
        for call in (call for block in blocks(language, text) for call in calls(block)):
            assert language == "console" or path in PAGES, f"{call} is not run; mark the block as console"
            if "--help" not in call:
                parsed(call)


@pytest.mark.parametrize(
    "wrong", ["glintiqa train --workdir=x --mistyped=1", "glintiqa tarin", "srun -n 2 glintiqa score a --top=x &"]
)
def test_a_wrong_command_is_noticed(wrong):
    (call,) = calls(wrong)
    with pytest.raises((flags.Error, AssertionError)):
        parsed(call)


def test_files_and_tests_that_are_named_are_there():
    for path in WRITTEN:
        text = path.read_text(encoding="utf-8")
        for file, test in re.findall(
            r"`((?:tests|experiments|docs|benchmarks|notebooks|\.github)/[\w/.-]*)(?:::(\w+))?`", text
        ):
            if path.name != "CHANGELOG.md":  # which tells of what was
                assert (ROOT / file).exists(), f"{path}: {file}"
                assert not test or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"


def test_links_lead_somewhere():
    """Those that GitHub follows; the site's build checks them again, and those to headings."""
    for path in WRITTEN:
        for link in re.findall(r"\]\(((?!http|#)[^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
            target = (path.parent / link).resolve()
            assert target.exists() or made(target), f"{path}: {link}"
