"""Rounds draw their splits by the released seeds, are resumed, and give the median of what each run measured."""

import dataclasses
import json
import statistics

import numpy as np
import pytest
from small_runs import SHORT, compiled_once, one_device_mesh, stop_after

from glintiqa_jax.data.splits import released_seed
from glintiqa_jax.datasets.config import Splitting
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.interruptions import Stopped
from glintiqa_jax.protocols import rounds, runs
from glintiqa_jax.protocols.rounds import published_column, run_rounds
from glintiqa_jax.protocols.runs import Running, Task

pytest_plugins = ["small_runs"]
pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def task(small):
    experiment = small.change(**SHORT).experiment
    return Task(small.source, experiment, Splitting(validation_fraction=0.2, test_fraction=0.3))


def running(small, **report):
    options = ReportOptions(**{"resamples": 20, "pictures": False} | report)
    return Running(small.execution, one_device_mesh(), options)


@pytest.fixture(scope="module")
def three(small, task, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("rounds")
    with compiled_once():
        return workdir, run_rounds(task, workdir, rounds=3, running=running(small))


def test_each_round_has_its_split_its_seed_and_its_checkpoint(three):
    _, runs = three
    splits = set()
    for number, run in enumerate(runs, start=1):
        config = json.loads((run.workdir / "config.json").read_text())
        assert config["experiment"]["start"]["seed"] == released_seed(number) == 12345 * number
        assert (run.workdir / "checkpoints").is_dir()
        split = json.loads((run.workdir / "split.json").read_text())
        assert {len(split["train"]), len(split["validation"]), len(split["test"])} == {10, 4, 6}
        splits.add(run.figures["split_sha256"])
    assert len(splits) == 3


def test_the_report_gives_the_median_the_mean_and_the_deviation(three):
    workdir, runs = three
    text = (workdir / "report.md").read_text()
    figures = [run.figures["test"]["rmse"] for run in runs]
    said = f"{statistics.median(figures):.4f} ({statistics.fmean(figures):.4f} ± {statistics.stdev(figures):.4f})"
    assert said in text
    for number, run in enumerate(runs, start=1):
        assert f"| round {number} | 6 (3 contents) |" in text
        assert run.figures["split_sha256"] in text
    for name in ("constant: the training images' mean score | 3 |", "variance of the Laplacian | 3 |"):
        assert name in text
    assert "the test split was used once in each round" in text


def test_more_rounds_are_added_to_those_there_are(three, small, task, monkeypatch):
    workdir, made = three
    trained = []
    train = runs.train

    def counted(*arguments, workdir, **options):
        trained.append((workdir.name, (workdir / "results.json").exists()))
        return train(*arguments, workdir=workdir, **options)

    monkeypatch.setattr(runs, "train", counted)
    again = run_rounds(task, workdir, rounds=2, running=running(small))
    assert [done for _, done in trained] == [True, True]
    assert [run.figures for run in again] == [run.figures for run in made[:2]]
    assert (workdir / "round_03").is_dir()
    assert run_rounds(task, workdir, rounds=3, running=running(small))[2].figures == made[2].figures


def test_interrupted_rounds_are_resumed(three, small, task, tmp_path, monkeypatch):
    _, made = three
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(Stopped):
            run_rounds(task, tmp_path, rounds=2, running=running(small))
    assert not (tmp_path / "report.md").exists()
    again = run_rounds(task, tmp_path, rounds=2, running=running(small, baselines=()))
    assert [run.figures for run in again] == [run.figures for run in made[:2]]


def test_a_folder_is_one_protocols_alone(three, small, task, workdir):
    folder, _ = three
    with pytest.raises(InputError, match=r"found another one's: tasks.rounds.experiment.optimiser.learning_rate: 0.5 "):
        run_rounds(task.change(learning_rate=0.5), folder, rounds=1, running=running(small))
    elsewhere = small.change(cache_megabytes=1, eval_batch_size=16)  # changes no figure
    assert run_rounds(task, folder, rounds=1, running=running(elsewhere))
    with pytest.raises(InputError, match=r"expected a new folder or one of this protocol, found another's report.md"):
        run_rounds(task, workdir, rounds=1, running=running(small))


@pytest.mark.parametrize("content", ["x", "[1]", "{}"])
def test_a_file_of_another_program_is_refused_and_stays(small, task, tmp_path, content):
    (tmp_path / "protocol.json").write_text(content)
    with pytest.raises(InputError, match=r"protocol\.json: expected what a protocol began with, found something"):
        run_rounds(task, tmp_path, rounds=1, running=running(small))
    assert (tmp_path / "protocol.json").read_text() == content


def test_a_refused_protocol_leaves_nothing_behind(small, task, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        run_rounds(task.change(init=("nowhere",)), tmp_path / "run", rounds=1, running=running(small))
    assert not (tmp_path / "run").exists()


def test_resolutions_are_sorted_over_all_rounds_at_once(three):
    """Whose images differ in size, here by hand: each size is one box, whichever rounds tested it."""
    _, made = three
    index = made[0].tested.source.index
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(index.__dict__, "heights", 1000 * (1 + np.arange(len(index.names))))
        assert len(np.unique(rounds._pooled(made).sorted_by()["resolution"])) == 5
    assert len(rounds._pooled(made).predictions.names) == 18


def test_published_figures_stand_beside_their_database():
    column = published_column(["koniq10k", "csv", "bid"], rows=5)["published, SROCC / PLCC"]
    assert column[0].startswith("QCN 0.934 / 0.945; LoDa")
    assert column[1:] == ["-", "QCN 0.892 / 0.890", "-", "-"]
    assert published_column(["csv"], rows=3) == {}


def test_the_split_is_for_the_rounds_to_say(small, task, tmp_path):
    for field, value in (("split_round", 3), ("split_by", "drawn")):
        other = dataclasses.replace(task, splitting=dataclasses.replace(task.splitting, **{field: value}))
        with pytest.raises(InputError, match=f"{field}={value}: is for the rounds to say"):
            run_rounds(other, tmp_path, rounds=1, running=running(small))
    assert not list(tmp_path.iterdir())
