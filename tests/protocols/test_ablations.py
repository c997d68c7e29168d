"""Each row changes what its table says, nothing else, and is judged on the same images as the first."""

import dataclasses
import json

import pytest
from small_runs import cheap_runs

from glintiqa_jax import settings
from glintiqa_jax.errors import UserError
from glintiqa_jax.evaluation.report import ReportOptions
from glintiqa_jax.models.glintiqa import VARIANTS, parameter_counts
from glintiqa_jax.protocols.ablations import SAQT, TABLES, ablation_rows, run_ablations
from glintiqa_jax.training.config import TrainConfig, differences

pytest_plugins = ["small_runs"]
pytestmark = pytest.mark.usefixtures("one_device")


def changed(config, row):
    return {line.split(":")[0].removeprefix("model.") for line in differences(config, row)}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("table", TABLES)
def test_every_row_is_a_network_and_another_one(variant, table):
    config = TrainConfig(variant=variant, model=VARIANTS[variant])
    rows = ablation_rows(config, [table])[table]
    assert next(iter(rows.values())) == config
    assert len({json.dumps(dataclasses.asdict(row)) for row in rows.values()}) == len(rows)
    if variant == "glintiqa_tiny" and table != "backbones":
        for row in rows.values():
            assert parameter_counts(row.model)[1] > 0


def test_the_papers_rows():
    config = TrainConfig()
    rows = ablation_rows(config, list(TABLES))
    assert {name: changed(config, row) for name, row in rows["branches"].items()} == {
        "both branches": set(),
        "ViT branch only": {"use_cnn"},
        "CNN branch only": {"use_vit"},
    }
    assert [row.model.embedded_stages for row in rows["kernels"].values()] == [
        (1, 2, 3), (1, 2), (1, 3), (2, 3), (1,), (2,), (3,),
    ]  # fmt: skip
    parts = [(row.model.use_cwsa, row.model.use_siem) for row in rows["integration"].values()]
    assert parts == [(True, True), (True, False), (False, True), (False, False), (True, True)]
    assert [row.model.tapped_blocks for row in rows["stages"].values()] == [(6, 7, 8, 9), (7, 8, 9), (8, 9), (9,)]
    assert [row.model.tapped_blocks[0] for row in rows["taps"].values()] == [6, 0, 2, 4, 8]
    assert max(row.model.tapped_blocks[-1] for row in rows["taps"].values()) == 11  # a ViT-S/16 has twelve
    assert list(rows["backbones"]) == ["glintiqa_s16_r50", "glintiqa_ti16_r18", "glintiqa_b16_r50"]


def test_rows_start_from_weights_that_there_are():
    config = TrainConfig(backbone_weights=("timm",))
    assert list(ablation_rows(config, ["backbones"])["backbones"]) == ["glintiqa_s16_r50", "glintiqa_b16_r50"]
    lite = TrainConfig(variant="glintiqa_lite", model=VARIANTS["glintiqa_lite"], backbone_weights=("package",))
    weights = {name: row.backbone_weights for name, row in ablation_rows(lite, ["branches"])["branches"].items()}
    assert weights == {"both branches": ("package",), "ViT branch only": (), "CNN branch only": ("package",)}


def test_what_makes_no_table_is_refused(config, tmp_path):
    with pytest.raises(UserError, match=r"--tables: expected each of branches, .*saqt at most once, found 'heads'"):
        ablation_rows(config, ["heads"])
    with pytest.raises(UserError, match="--saqt_weights: needed with saqt in --tables, and only there, found nothing"):
        ablation_rows(config, [SAQT])
    rows = ablation_rows(config, [SAQT], saqt_weights="saqt.npz")[SAQT]
    assert [row.backbone_weights for row in rows.values()] == [(), ("saqt.npz",)]
    with pytest.raises(UserError, match=r"--backbone_weights.*saqt\.npz"):
        run_ablations(config, tmp_path / "run", tables=[SAQT], saqt_weights="saqt.npz")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def experiment(config):
    return dataclasses.replace(config, steps=3, eval_every=3)


@pytest.fixture(scope="module")
def ablated(experiment, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("ablations")
    with cheap_runs():
        report = ReportOptions(pictures=False)
        return workdir, run_ablations(experiment, workdir, tables=["branches", "selection"], rounds=0, report=report)


def test_rows_are_trained_and_tested_on_the_same_split(ablated):
    workdir, found = ablated
    runs = [run for table in found.values() for rows in table.values() for run in rows]
    assert len({run.results["split_sha256"] for run in runs}) == 1
    assert found["branches"]["both branches"][0].workdir == found["selection"]["selected on validation"][0].workdir
    assert len(list(workdir.glob("*/results.json"))) == 4
    assert (
        found["branches"]["ViT branch only"][0].results["test"] != found["branches"]["both branches"][0].results["test"]
    )


def test_the_report_compares_every_row_with_the_first(ablated, experiment):
    workdir, found = ablated
    text = (workdir / "report.md").read_text()
    for table, rows in found.items():
        assert f"## {table}" in text
        for label, (run,) in rows.items():
            assert f"| {label} | {run.results['test']['images']} (2 contents) |" in text
    assert "| less both branches | Δ SROCC |" in text
    assert f"{parameter_counts(experiment.model)[1] / 1e6:.2f} M" in text
    assert "The row 'selected on the test split' is selected on the test split itself, as released" in text


def test_rounds_are_compared_one_by_one(experiment, tmp_path):
    data = settings.replace(experiment.data, validation_fraction=0.2, test_fraction=0.3)
    config = dataclasses.replace(experiment, data=data, steps=2, warmup_steps=1, eval_every=2)
    report = ReportOptions(baselines=(), pictures=False)
    found = run_ablations(config, tmp_path, tables=["selection"], rounds=2, report=report)
    assert [len(runs) for runs in found["selection"].values()] == [2, 2]
    assert "| less selected on validation | Δ SROCC, median |" in (tmp_path / "report.md").read_text()


def test_what_cannot_be_compared_is_refused_before_anything_is_trained(experiment, tmp_path):
    no_vit = dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, use_vit=False))
    with pytest.raises(UserError, match="--tables=branches: use_vit and use_cnn must not both be off"):
        run_ablations(no_vit, tmp_path / "run", tables=["branches"], rounds=0)
    everything = dataclasses.replace(experiment, data=settings.replace(experiment.data, split_by="all"))
    with pytest.raises(UserError, match="--split_by=all: there is nothing to test"):
        run_ablations(everything, tmp_path / "run", tables=["branches"], rounds=0)
    with pytest.raises(UserError, match=r"expected a crop that fits into every image, found 224 pixels"):
        run_ablations(experiment, tmp_path / "run", tables=["selection", "backbones"], rounds=0)
    none = dataclasses.replace(experiment, data=settings.replace(experiment.data, validation_fraction=0.0))
    with pytest.raises(UserError, match="--tables=selection: needs a validation split"):
        run_ablations(none, tmp_path / "run", tables=["selection"], rounds=0)
    assert not (tmp_path / "run").exists()
