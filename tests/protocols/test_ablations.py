"""Each row changes what its table says, nothing else, and is judged on the same images as the first."""

import dataclasses

import pytest
from small_runs import SHORT, compiled_once, one_device_mesh, small_source

from glintiqa_jax import settings
from glintiqa_jax.datasets.config import Splitting
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.protocols.ablations import SAQT, TABLES, ablation_rows, run_ablations
from glintiqa_jax.protocols.runs import Running, Task
from glintiqa_jax.training.experiment import Experiment
from glintiqa_jax.training.step import trained_parameters

pytest_plugins = ["small_runs"]
pytestmark = pytest.mark.usefixtures("one_device")
FROZEN = (r"^vgfe\.(patch_embed|blocks\.[0-4])\.",)


def task_of(variant, **changes):
    return Task(small_source(), settings.replace(Experiment(model=VARIANTS[variant]), **changes))


def changed(task, row):
    return {change.name.removeprefix("model.") for change in settings.changes(task.experiment, row.experiment)}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("table", TABLES)
def test_every_row_is_a_network_and_another_one(variant, table):
    task = task_of(variant)
    rows = ablation_rows(task, [table])[table]
    assert next(iter(rows.values())) == task
    assert len({str(settings.to_json(row.experiment)) for row in rows.values()}) == len(rows)
    if variant == "glintiqa_tiny" and table != "backbones":
        for row in rows.values():
            assert trained_parameters(row.experiment) > 0


@pytest.mark.slow
def test_the_papers_rows():
    task = task_of("glintiqa_s16_r50", frozen=FROZEN)
    rows = ablation_rows(task, list(TABLES))
    branches = {name: row.experiment for name, row in rows["branches"].items()}
    assert [(row.model.vit is None, row.model.cnn is None, row.start.frozen) for row in branches.values()] == [
        (False, False, FROZEN), (False, True, FROZEN), (True, False, ()),
    ]  # fmt: skip
    models = {table: [row.experiment.model for row in found.values()] for table, found in rows.items()}
    assert [model.embedded_stages for model in models["kernels"]] == [
        (1, 2, 3), (1, 2), (1, 3), (2, 3), (1,), (2,), (3,),
    ]  # fmt: skip
    parts = [(model.integration.use_cwsa, model.integration.use_siem) for model in models["integration"]]
    assert parts == [(True, True), (True, False), (False, True), (False, False), (True, True)]
    assert [model.vit.tapped_blocks for model in models["stages"]] == [(6, 7, 8, 9), (7, 8, 9), (8, 9), (9,)]
    assert [model.vit.tapped_blocks[0] for model in models["taps"]] == [6, 0, 2, 4, 8]
    assert max(model.vit.tapped_blocks[-1] for model in models["taps"]) == 11  # a ViT-S/16 has twelve
    frozen = [row.experiment.start.frozen for row in rows["taps"].values()]
    assert frozen[1:3] == [(), (r"^vgfe\.(patch_embed|blocks\.(0|1))\.",)]  # what is tapped is trained
    assert list(rows["backbones"]) == ["glintiqa_s16_r50", "glintiqa_ti16_r18", "glintiqa_b16_r50"]


def test_rows_start_from_weights_that_there_are():
    task = task_of("glintiqa_s16_r50", init=("timm",))
    assert list(ablation_rows(task, ["backbones"])["backbones"]) == ["glintiqa_s16_r50", "glintiqa_b16_r50"]
    lite = task_of("glintiqa_lite", init=("package",))
    rows = ablation_rows(lite, ["branches"])["branches"]
    weights = {name: row.experiment.start.init for name, row in rows.items()}
    assert weights == {"both branches": ("package",), "ViT branch only": (), "CNN branch only": ("package",)}


@pytest.fixture(scope="module")
def task(small):
    return Task(small.source, small.change(**SHORT).experiment)


@pytest.fixture(scope="module")
def running(small):
    return Running(small.execution, one_device_mesh(), ReportOptions(pictures=False, resamples=20))


def test_what_makes_no_table_is_refused(task, running, tmp_path):
    with pytest.raises(InputError, match=r"tables: expected each of branches, .*saqt at most once, found 'heads'"):
        ablation_rows(task, ["heads"])
    with pytest.raises(InputError, match="saqt_weights: needed with saqt in `tables`, and only there"):
        ablation_rows(task, [SAQT])
    rows = ablation_rows(task, [SAQT], saqt_weights="saqt.npz")[SAQT]
    assert [row.experiment.start.init for row in rows.values()] == [(), ("saqt.npz",)]
    with pytest.raises(InputError, match=r"init=saqt\.npz"):
        run_ablations(task, tmp_path / "run", tables=[SAQT], saqt_weights="saqt.npz", running=running)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def ablated(task, running, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("ablations")
    with compiled_once():
        return workdir, run_ablations(task, workdir, tables=["branches", "selection"], rounds=0, running=running)


def test_rows_are_trained_and_tested_on_the_same_split(ablated):
    workdir, found = ablated
    runs = [run for table in found.values() for rows in table.values() for run in rows]
    assert len({run.figures["split_sha256"] for run in runs}) == 1
    assert found["branches"]["both branches"][0].workdir == found["selection"]["selected on validation"][0].workdir
    assert len(list(workdir.glob("*/results.json"))) == 4
    figures = {label: run.figures["test"] for label, (run,) in found["branches"].items()}
    assert figures["ViT branch only"] != figures["both branches"]


def test_the_report_compares_every_row_with_the_first(ablated, task):
    workdir, found = ablated
    text = (workdir / "report.md").read_text()
    for table, rows in found.items():
        assert f"## {table}" in text
        for label, (run,) in rows.items():
            assert f"| {label} | {run.figures['test']['images']} (2 contents) |" in text
    assert "| less both branches | Δ SROCC |" in text
    assert f"{trained_parameters(task.experiment) / 1e6:.2f} M" in text
    assert "The row 'selected on the test split' is selected on the test split itself, as released" in text


def test_rounds_are_compared_one_by_one(task, running, tmp_path):
    splitting = Splitting(validation_fraction=0.2, test_fraction=0.3)
    short = dataclasses.replace(task, splitting=splitting)
    quick = dataclasses.replace(running, report=dataclasses.replace(running.report, baselines=()))
    found = run_ablations(short, tmp_path, tables=["selection"], rounds=2, running=quick)
    assert [len(runs) for runs in found["selection"].values()] == [2, 2]
    assert "| less selected on validation | Δ SROCC, median |" in (tmp_path / "report.md").read_text()


def test_what_cannot_be_compared_is_refused_before_anything_is_trained(task, running, tmp_path):
    def refused(task, tables, message):
        with pytest.raises(InputError, match=message):
            run_ablations(task, tmp_path / "run", tables=tables, rounds=0, running=running)

    refused(task.change(vit=None), ["branches"], "tables=branches: .*vit: expected a branch")
    everything = dataclasses.replace(task, splitting=Splitting(split_by="all"))
    refused(everything, ["branches"], "split_by=all: there is nothing to test")
    refused(task, ["selection", "backbones"], r"expected a crop that fits into every image, found 224 pixels")
    none = dataclasses.replace(task, splitting=Splitting(validation_fraction=0.0))
    refused(none, ["selection"], "tables=selection: needs a validation split")
    assert not (tmp_path / "run").exists()
