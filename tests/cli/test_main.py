"""``glintiqa JOB``: finding jobs, their help, and any number of them in one process."""

import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from glintiqa_jax import recipes
from glintiqa_jax.cli.main import JOBS, main

ROOT = Path(__file__).resolve().parents[2]


def test_help_lists_the_jobs_and_a_mistyped_one_is_told_the_nearest(capsys):
    main(["--help"])
    text = capsys.readouterr().out
    assert re.search("^  train +Train and evaluate GlintIQA.$", text, flags=re.MULTILINE)
    assert all(f"\n  {job} " in text for job in JOBS)
    for arguments, message in [
        (["tarin"], "error: expected a job, found 'tarin'; did you mean train?\n"),
        (["run-round"], "error: expected a job, found 'run-round'; did you mean run_rounds?\n"),
        ([], "error: expected a job, found nothing; `glintiqa --help` lists them\n"),
    ]:
        with pytest.raises(SystemExit, match=r"^2$"):
            main(arguments)
        assert capsys.readouterr().err == message


@pytest.mark.parametrize("job", JOBS)
def test_each_job_says_what_its_flags_do(job, capsys):
    main([job.replace("_", "-"), "--help"])
    text = capsys.readouterr().out
    assert f"\n    glintiqa {job} " in text
    assert f"\n{job}:\n  " in text
    assert "\n  --verbosity: " in text


def test_help_says_defaults_and_groups(capsys):
    main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for part in ("--batch_size: crops per step", "(default: 32)", "--[no]lower_is_better", "--model_tapped_blocks:"):
        assert part in text
    for name in recipes.names():
        assert name in text


@pytest.mark.parametrize("job", JOBS)
def test_a_script_is_its_documentation_and_three_lines(job):
    text = (ROOT / "experiments" / f"{job}.py").read_text()
    _, doc, lines = text.split('"""')
    assert f"python experiments/{job}.py " in doc
    assert lines.strip() == (
        f'from glintiqa_jax.cli.main import script\n\nif __name__ == "__main__":\n    script("{job}")'
    )


def state():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)], [
        (logger.level, logger.propagate, list(logger.handlers))
        for logger in map(logging.getLogger, (None, "absl", "glintiqa_jax"))
    ]


def test_jobs_in_one_process_leave_nothing_behind(tmp_path, monkeypatch, capsys):
    """In any order, with errors in between: flags have their defaults, and signals and loggers are as before."""
    import grain  # noqa: F401  both define flags, whoever imports them first
    import tensorflow_datasets  # noqa: F401

    monkeypatch.chdir(tmp_path)
    before, known = state(), set(flags.FLAGS)
    for name in ("a", "b"):
        Path(f"{name}.csv").write_text("name,predicted\n" + "".join(f"{n}.png,{n % 5}\n" for n in range(9)))
    Path("scores.csv").write_text("image,mos,scene\n" + "".join(f"{n}.png,{n},{n // 3}\n" for n in range(9)))
    compare = ["compare_predictions", "--scores=scores.csv", "--predictions=a=a.csv", "--group_column=scene"]
    main([*compare, "--workdir=one", "--latex", "--verbosity=1"])
    for mistaken in (
        ["compare_predictions", "--scores=scores.csv", "--workdir=x"],
        ["score", "--model=x", "nowhere.png", "--verbosity=0"],
        ["compare_predictions", "--late", "--workdir=x"],
    ):
        with pytest.raises(SystemExit, match=r"^2$"):
            main(mistaken)
    main([*compare, "--workdir=two"])
    assert Path("one/tables.tex").is_file()
    assert not Path("two/tables.tex").exists()
    assert f"glintiqa {' '.join(compare)} --workdir=two" in Path("two/report.md").read_text()
    assert state() == before
    assert set(flags.FLAGS) - known == set()
    told = capsys.readouterr().out
    assert told.count("report:  ") == told.count("  (9 images)\n") == 2


LONG = ("flax", "grain", "jax", "matplotlib", "optax", "orbax", "scipy", "tensorflow_datasets")
ANSWERED = f"""
import contextlib, sys

sys.modules.update(dict.fromkeys({LONG}))  # importing one fails
from glintiqa_jax.cli.main import JOBS, main

main(["--version"])
for job in JOBS:
    main([job, "--help"])
    for flag in ("--mistyped", "--verbosity=none"):
        with contextlib.suppress(SystemExit):
            main([job, flag])
"""


def test_help_and_mistyped_flags_are_answered_before_anything_is_imported_that_takes_long():
    done = subprocess.run([sys.executable, "-c", ANSWERED], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("glintiqa ")
    mistyped, none = "error: Unknown command line flag 'mistyped'", "error: flag --verbosity=none: "
    assert [line.startswith((mistyped, none)) for line in done.stderr.splitlines()] == [True] * 2 * len(JOBS), (
        done.stderr
    )
