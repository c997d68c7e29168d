"""Rounds draw their splits by the released seeds, are resumed, and give the median of what each run measured."""

import dataclasses
import json
import statistics

import numpy as np
import pytest
from small_runs import cheap_runs, stop_after

from glintiqa_jax import settings
from glintiqa_jax.data.splits import released_seed
from glintiqa_jax.errors import UserError
from glintiqa_jax.evaluation.report import ReportOptions
from glintiqa_jax.protocols import rounds
from glintiqa_jax.protocols.rounds import median_run, published_column, run_rounds
from glintiqa_jax.training import loop

pytest_plugins = ["small_runs"]
pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def experiment(config):
    data = settings.replace(config.data, validation_fraction=0.2, test_fraction=0.3)
    return dataclasses.replace(config, data=data, steps=4, eval_every=4)


@pytest.fixture(scope="module")
def three(experiment, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("rounds")
    with cheap_runs():
        return workdir, run_rounds(experiment, workdir, rounds=3, report=ReportOptions(pictures=False))


def test_each_round_has_its_split_its_seed_and_its_checkpoint(three, experiment):
    _, runs = three
    splits = set()
    for number, run in enumerate(runs, start=1):
        config = json.loads((run.workdir / "config.json").read_text())["config"]
        assert config["data"]["split_round"] == number
        assert config["seed"] == released_seed(number) == 12345 * number
        assert (run.workdir / "checkpoints").is_dir()
        split = json.loads((run.workdir / "split.json").read_text())
        assert {len(split["train"]), len(split["validation"]), len(split["test"])} == {10, 4, 6}
        splits.add(run.results["split_sha256"])
    assert len(splits) == 3


def test_the_report_gives_the_median_the_mean_and_the_deviation(three):
    workdir, runs = three
    text = (workdir / "report.md").read_text()
    figures = [run.results["test"]["rmse"] for run in runs]
    said = f"{statistics.median(figures):.4f} ({statistics.fmean(figures):.4f} ± {statistics.stdev(figures):.4f})"
    assert said in text
    for number, run in enumerate(runs, start=1):
        assert f"| round {number} | 6 (3 contents) |" in text
        assert run.results["split_sha256"] in text
    for name in ("constant: the training images' mean score | 3 |", "variance of the Laplacian | 3 |"):
        assert name in text
    assert "the test split was used once in each round" in text


def test_more_rounds_are_added_to_those_there_are(three, experiment, monkeypatch):
    workdir, runs = three
    trained = []
    train = loop.train_and_evaluate

    def counted(config, folder, **options):
        trained.append((folder.name, (folder / "results.json").exists()))
        return train(config, folder, **options)

    monkeypatch.setattr(rounds, "train_and_evaluate", counted)
    again = run_rounds(experiment, workdir, rounds=2)
    assert [done for _, done in trained] == [True, True]
    assert [run.results for run in again] == [run.results for run in runs[:2]]
    assert (workdir / "round_03").is_dir()
    assert run_rounds(experiment, workdir, rounds=3)[2].results == runs[2].results


def test_interrupted_rounds_go_on(three, experiment, tmp_path, monkeypatch):
    _, runs = three
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert run_rounds(experiment, tmp_path, rounds=2) is None
    assert not (tmp_path / "report.md").exists()
    again = run_rounds(experiment, tmp_path, rounds=2, report=ReportOptions(baselines=()))
    assert [run.results for run in again] == [run.results for run in runs[:2]]


def test_a_folder_is_one_protocols_alone(three, experiment, workdir):
    folder, _ = three
    other = dataclasses.replace(experiment, learning_rate=0.5)
    with pytest.raises(UserError, match=r"found another one's: configs.rounds.learning_rate: 0.5 here, 0.001 there"):
        run_rounds(other, folder, rounds=1)
    elsewhere = dataclasses.replace(experiment, num_workers=1, eval_batch_size=16)  # changes no figure
    assert run_rounds(elsewhere, folder, rounds=1)
    with pytest.raises(UserError, match=r"expected a new folder or one of this protocol, found another's report.md"):
        run_rounds(experiment, workdir, rounds=1)


@pytest.mark.parametrize("content", ["x", "[1]", "{}"])
def test_a_file_of_another_program_is_refused_and_stays(experiment, tmp_path, content):
    (tmp_path / "protocol.json").write_text(content)
    with pytest.raises(
        UserError, match=r"protocol\.json: expected what a protocol of ours began with, found something"
    ):
        run_rounds(experiment, tmp_path, rounds=1)
    assert (tmp_path / "protocol.json").read_text() == content


def test_a_refused_command_leaves_nothing_behind(experiment, tmp_path):
    wrong = dataclasses.replace(experiment, data=settings.replace(experiment.data, images="nowhere"))
    with pytest.raises(UserError, match="--images=nowhere"):
        run_rounds(wrong, tmp_path / "run", rounds=1)
    assert not (tmp_path / "run").exists()


def test_resolutions_are_sorted_over_all_rounds_at_once(three):
    """Whose images differ in size, here by hand: each size is one box, whichever rounds tested it."""
    _, runs = three
    index = runs[0].tested.source.index
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(index.__dict__, "heights", 1000 * (1 + np.arange(len(index.names))))
        assert len(np.unique(rounds._pooled(runs).sorted_by()["resolution"])) == 5
    assert len(rounds._pooled(runs).predictions.names) == 18


def test_published_figures_stand_beside_their_database():
    column = published_column(["koniq10k", "csv", "bid"], rows=5)["published, SROCC / PLCC"]
    assert column[0].startswith("QCN 0.934 / 0.945; LoDa")
    assert column[1:] == ["-", "QCN 0.892 / 0.890", "-", "-"]
    assert published_column(["csv"], rows=3) == {}


def test_the_split_is_for_the_rounds_to_say(experiment, tmp_path):
    for field, value in (("split_round", 3), ("split_by", "drawn")):
        config = dataclasses.replace(experiment, data=settings.replace(experiment.data, **{field: value}))
        with pytest.raises(UserError, match=f"--{field}: is for the rounds to say, found {value}"):
            run_rounds(config, tmp_path, rounds=1)
    assert not list(tmp_path.iterdir())


def test_the_median_run_is_one_of_them(three):
    _, runs = three
    ordered = sorted(run.results["test"]["srocc"] for run in runs)
    assert median_run(runs).results["test"]["srocc"] == ordered[1]
    assert median_run(runs[:2]).results["test"]["srocc"] == min(run.results["test"]["srocc"] for run in runs[:2])
