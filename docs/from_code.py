"""Pages of the site that are made from the code: commands and flags, recipes, databases."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from absl import flags

from glintiqa_jax import recipes
from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.main import JOBS
from glintiqa_jax.cli.run import define_common
from glintiqa_jax.data.database import Database
from glintiqa_jax.data.databases import DATABASES

_SHARED = {"glintiqa_jax.cli.models": "a model in use"}  # titles of groups that several jobs share
_TYPES = {"bool": "", "string": "TEXT", "int": "N", "float": "X", "comma-separated values": "A,B"}
_COMMANDS = """# Commands

`glintiqa JOB --flag=value ...` runs a job; `python experiments/JOB.py --flag=value ...` does the same in a checkout.
`glintiqa --help` lists the jobs and `glintiqa JOB --help` the flags of one. A page below lists what a job alone
takes; [](flags.md) has the flags that jobs share. Results go to stdout, messages and progress to stderr. A mistake in
the flags or in the input is one line on stderr and exit code 2.

| job | what it does |
|---|---|
{rows}

```{{toctree}}
:hidden:

flags
{pages}
```
"""
_FLAGS = """# Flags that jobs share

A flag's value follows `=`. `--flagfile=FILE` reads flags from a file, one on a line; `--recipe=NAME` reads a file that
is part of the package. A later flag replaces an earlier one. An unknown name is refused.

"changes no figure" marks a flag that may differ when a run resumes; "changes figures by rounding" marks one that
changes the last digits.

"""
_DATABASES = """# Databases

Each is read as it is distributed; [](../howto/databases.md) says how. Files are found in any case and at any depth
below the folder that was unpacked. Licences are told as the authors state them; "not known here" means
that none was seen.

"""
_RECIPES = """# Recipes

Whole experiments that are part of the package: `glintiqa train --recipe=NAME`, `python experiments/train.py
--flagfile=experiments/flags/NAME.flags` or `glintiqa_jax.recipes.NAME(...)`. A flag that follows replaces the recipe's.

"""


def write(reference: Path) -> None:
    """Write all pages below the folder of the reference; those that are already right stay untouched."""
    for name, text in pages().items():
        path = reference / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """The pages' text, by their paths without an ending."""
    made, shared = {}, {}
    for job in JOBS:
        doc, groups = defined(job)
        own = groups.pop(job, [])
        shared |= groups
        made[f"commands/{job}"] = _job_page(job, doc, own, list(groups))
    rows = "\n".join(f"| [{job}]({job}.md) | {defined(job)[0].partition(chr(10))[0]} |" for job in JOBS)
    order = sorted(shared, key=list(defined("train")[1] | shared).index)
    sections = "".join(f"({_anchor(title)})=\n## {title}\n\n{_definitions(shared[title])}\n" for title in order)
    return made | {
        "commands/index": _COMMANDS.format(rows=rows, pages="\n".join(JOBS)),
        "commands/flags": _FLAGS + sections,
        "databases": _DATABASES + "".join(map(_database, DATABASES.values())),
        "recipes": _RECIPES + "".join(map(_recipe, recipes.names())),
    }


def defined(job: str) -> tuple[str, dict[str, list[flags.Flag]]]:
    """A job's documentation, and its flags by group; its own are in the group of its name."""
    module = importlib.import_module(f"glintiqa_jax.cli.jobs.{job}")
    values = Flags()
    module.define(values)
    define_common(values)
    groups = values.flags_by_module_dict()
    return (module.__doc__ or "").strip(), {
        _SHARED.get(name, name.rpartition(".")[2]): found for name, found in groups.items()
    }


def _job_page(job: str, doc: str, own: list[flags.Flag], shared: list[str]) -> str:
    title, _, text = doc.partition("\n")
    links = ", ".join(f"[{title}](#{_anchor(title)})" for title in shared)
    return f"# {job}\n\n{title}\n{text}\n\n## Options\n\n{_definitions(own)}\nShared flags: {links}.\n"


def _anchor(title: str) -> str:
    return f"flags-{title.replace(' ', '-')}"


def _definitions(found: list[flags.Flag]) -> str:
    return "".join(f"{name}\n: {said}\n\n" for name, said in map(_entry, found))


def _entry(flag: flags.Flag) -> tuple[str, str]:
    enum = re.match(r"<([^>]+)>: ", flag.help)  # as absl begins the help of some
    choices = enum[1] if enum else flag.parser.syntactic_help if "|" in flag.parser.syntactic_help else ""
    value = "" if flag.boolean else f"={_TYPES.get(flag.flag_type(), 'TEXT')}"
    short = f"`-{flag.short_name} {value[1:]}`, " if flag.short_name else ""
    notes = [] if flag.boolean or not choices else [f"one of {', '.join(f'`{one}`' for one in choices.split('|'))}"]
    if flag.default not in (None, "", (), []):
        notes.append(f"default: `{str(flag.default).lower() if flag.boolean else flag.default}`")
    said = " ".join(_marked(flag.help[enum.end() :] if enum else flag.help))
    return f"{short}`--{'[no]' * flag.boolean}{flag.name}{value}`", said + (f" ({'; '.join(notes)})" if notes else "")


def _marked(text: str) -> Iterator[str]:
    """The words of a flag's help, with flags as code and nothing else read as Markdown."""
    for word in text.split():
        code = re.match(r"--[\w=:/.-]*(?:\w|\.\.\.)", word)
        rest = re.sub(r"([\\`*_<>\[\]|#])", r"\\\1", word[code.end() :] if code else word)
        yield f"`{code[0]}`{rest}" if code else rest


def _database(row: Database) -> str:
    layout, _, more = (row.read.__doc__ or "").strip().partition("\n")
    more = " ".join(more.split())
    counts = [f"{row.content.images:,} images of {row.content.groups:,} contents"] if row.content.images else []
    counts.append(f"a content is {'an' if row.content.of == 'image' else 'a'} {row.content.of}")
    facts = {
        "files": f"{layout.partition(': ')[2]} {more}".strip(),
        "scores": row.scale.describe(),
        "content": "; ".join(counts),
        "near-duplicates": "share a content by default" if row.content.merge_near_duplicates else "",
        "distortion types": ", ".join(row.distortions),
        "citation": f"{row.origin.citation}{f', <{row.origin.home}>' if row.origin.home else ''}",
        "licence": row.origin.licence,
    }
    lines = "".join(f"{name}\n: {said}\n\n" for name, said in facts.items() if said)
    return f"## {row.name}\n\n{row.title}\n\n{lines}"


def _recipe(name: str) -> str:
    return f"## {name}\n\n```text\n{recipes.path(name).read_text(encoding='utf-8')}```\n\n"
