"""The jobs as a user runs them, on twenty tiny images; each mistake is one line and exit code 2."""

import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import heard, write_images, write_scores
from databases import write_sample
from PIL import Image

from glintiqa_jax.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "--variant=glintiqa_tiny",
    "--model_tapped_blocks=0",
    "--steps=12",
    "--batch_size=8",
    "--eval_every=6",
    "--eval_grid=2",
    "--warmup_steps=2",
    "--learning_rate=0.001",
    "--validation_fraction=0.2",
]


def run(job: str, *arguments: object) -> subprocess.CompletedProcess:
    """A job in this process, and how it ended."""
    said, results, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(results), contextlib.redirect_stderr(said):
        try:
            main([job, *map(str, arguments)])
        except SystemExit as end:
            code = end.code
    return subprocess.CompletedProcess(job, code, results.getvalue(), said.getvalue())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with images/, scores.csv and what the training command left in run/."""
    folder = tmp_path_factory.mktemp("own_data")
    names = write_images(folder / "images", 20)
    rows = [{"image": name, "mos": number * 5} for number, name in enumerate(names)]
    write_scores(folder / "scores.csv", rows)
    data = [f"--images={folder}/images", f"--scores={folder}/scores.csv", f"--data_dir={folder}/data"]
    (folder / "own.flags").write_text("\n".join(["--dataset=csv", *data, "--score_range=0,95", *TINY]))
    done = run("train", f"--flagfile={folder}/own.flags", f"--workdir={folder}/run")
    assert done.returncode == 0, done.stderr
    return folder, done, data


def test_train_says_what_it_found_and_how_to_go_on(trained):
    folder, done, _ = trained
    results = json.loads((folder / "run" / "results.json").read_text())
    assert f"SROCC {results['test']['srocc']:.4f}" in done.stdout
    assert "test:" in done.stdout
    assert f"glintiqa train --flagfile={folder}/own.flags" in (folder / "run" / "report.md").read_text()
    assert f"glintiqa score --model={folder}/run PATH" in done.stdout


def test_evaluate_repeats_the_test_figures_and_takes_other_data(trained, tmp_path):
    folder, _, data = trained
    results = json.loads((folder / "run" / "results.json").read_text())
    done = run("evaluate", f"--model={folder}/run", f"--output={tmp_path}/predictions.csv")
    assert done.returncode == 0, done.stderr
    assert f"csv test:  SROCC {results['test']['srocc']:.4f}" in done.stdout
    assert (tmp_path / "predictions.csv").read_text() == (folder / "run" / "predictions_test.csv").read_text()
    other = run("evaluate", f"--model={folder}/run", "--dataset=csv", *data)
    assert other.returncode == 0, other.stderr
    assert "csv all:" in other.stdout
    assert f"({results['test']['images']} images)" in other.stdout  # it has seen the others
    assert "images show what the model was trained on: left out" in other.stderr


@pytest.mark.slow
def test_weights_go_out_and_come_back(trained, tmp_path):
    """To the official layout, to a checkpoint again that gives the same scores, and as the start of a training run."""
    folder, _, _ = trained
    for file in ("out.npz", "out.safetensors"):
        done = run("convert_weights", f"--input={folder}/run", f"--output={tmp_path}/{file}")
        assert done.returncode == 0, done.stderr
    for mistaken, message in [("x", "x: expected a .safetensors or .npz file"), ("x.npz/", "x.npz/: expected a file")]:
        done = run("convert_weights", f"--input={folder}/run", f"--output={tmp_path}/{mistaken}")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"--output={tmp_path}/{message}" in done.stderr
    variant = ["--variant=glintiqa_tiny", "--model_tapped_blocks=0", "--eval_grid=2"]
    # the exported network gives quality in [0, 1]
    back = [f"--input={tmp_path}/out.safetensors", "--score_range=0,1", f"--output={tmp_path}/back"]
    done = run("convert_weights", *back, *variant)
    assert done.returncode == 0, done.stderr
    assert f"--model={tmp_path}/back PATH" in done.stdout
    scores = []
    for checkpoint, name in ((folder / "run", "first.csv"), (tmp_path / "back", "second.csv")):
        done = run("score", f"--model={checkpoint}", folder / "images", f"--output={tmp_path}/{name}")
        assert done.returncode == 0, done.stderr
        with (tmp_path / name).open() as file:
            scores.append(np.array([float(row["score"]) for row in csv.DictReader(file)]))
    np.testing.assert_allclose(scores[0], 95 * scores[1], rtol=1e-4)
    done = run("evaluate", f"--model={tmp_path}/back")
    assert done.returncode == 2
    assert "--dataset: needed" in done.stderr

    start = [f"--flagfile={folder}/own.flags", f"--init={tmp_path}/out.npz", "--learning_rate=1e-12"]
    done = run("train", *start, f"--workdir={tmp_path}/run", "--max_steps=1")
    assert done.returncode == 0, done.stderr
    done = run("convert_weights", f"--input={tmp_path}/run", f"--output={tmp_path}/after.npz")
    with np.load(tmp_path / "out.npz") as before, np.load(tmp_path / "after.npz") as after:
        for name in ("quality_head.layers.0.weight", "clfe.backbone.conv1.weight"):
            np.testing.assert_allclose(after[name], before[name], atol=1e-9)


def test_evaluate_refuses_its_own_data_when_they_have_changed(trained, tmp_path):
    """Who is tested may then have been trained on."""
    folder, _, _ = trained
    moved = shutil.copytree(folder / "data", tmp_path / "moved")
    again = run("evaluate", f"--model={folder}/run", f"--data_dir={moved}")
    assert again.returncode == 0, again.stderr
    scores = (folder / "scores.csv").read_text()
    try:
        (folder / "scores.csv").write_text(scores.replace("image03.png,15", "image03.png,16"))
        done = run("evaluate", f"--model={folder}/run", f"--data_dir={tmp_path}/data")
    finally:
        (folder / "scores.csv").write_text(scores)
    assert done.returncode == 2
    assert "the images or scores it was trained on have changed since" in done.stderr


def test_a_database_is_prepared_with_a_card(tmp_path):
    facts = write_sample("koniq10k", tmp_path / "downloads")
    for number, fact in enumerate(facts):  # instead of the stand-ins, which are all the same
        (image,) = (tmp_path / "downloads").rglob(fact.name)
        Image.new("RGB", (40 + number, 40)).save(image)
    command = ["prepare_dataset", "--dataset=koniq10k", f"--source={tmp_path}/downloads", f"--data_dir={tmp_path}/data"]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert f"KonIQ-10k has 10,073 images as published, found {len(facts)}" in done.stderr
    for text in (f"{len(facts)} images of", "of MOS 0 to 100, higher is better", "near-duplicate pairs", "left out: 0"):
        assert text in done.stdout
    (card,) = (tmp_path / "data").rglob("card.md")
    assert f"card:   {card}" in done.stdout
    assert "# KonIQ-10k" in card.read_text()
    again = run(*command)
    assert again.returncode == 0
    other = run(*command, "--max_side=20")
    assert other.returncode == 2
    assert "--overwrite replaces it" in other.stderr


MISTAKES = [
    ("train", ["--stepps=3", "--workdir=x"], "stepps"),
    ("train", [], "workdir"),
    ("train", ["--flagfile=nowhere.flags", "--workdir=x"], "nowhere.flags"),
    ("train", ["--model_crop_size=100", "--workdir=x"], "--model_crop_size: expected a positive multiple"),
    ("train", ["--dataset=csv", "--images=nowhere", "--scores=x.csv", "--workdir=x"], "--images=nowhere: expected"),
    ("train", ["--init=nowhere.pth", "--workdir=x"], "--init=nowhere.pth: "),
    ("train", ["--images=.", "--workdir=x"], "--images: needs --dataset=csv, found --dataset=demo"),
    (
        "evaluate",
        [],
        "--model: expected a model's or a run's folder, or data flags, which evaluate the model that ships",
    ),
    ("evaluate", ["--model=x", "--scores=x.csv"], "--scores: needs --dataset=csv"),
    ("evaluate", ["--model=x", "--split_seed=3"], "--split_seed: needs --dataset"),
    ("prepare_dataset", ["--dataset=clive"], "--source: needed with --dataset=clive"),
    ("prepare_dataset", ["--dataset=clive", "--source=nowhere"], "--source=nowhere: expected the folder of a"),
    ("prepare_dataset", ["--dataset=clive", "--source=."], "expected AllImages_release.mat, in any case"),
    (
        "prepare_dataset",
        ["--dataset=clive", "--source=.", "--score_range=0,1"],
        "--score_range: needs --dataset=csv",
    ),
    ("prepare_dataset", ["--dataset=clive,bid"], "--dataset: expected one database to prepare"),
    ("prepare_dataset", ["--dataset=demo", "--source=."], "--source: needs a database's name"),
    (
        "train",
        ["--dataset=clive", "--data_dir=x", "--workdir=x"],
        "--dataset=clive: expected a database prepared in",
    ),
    ("train", ["--ranked_levels=6", "--workdir=x"], "--ranked_levels: expected up to 5"),
    (
        "train",
        ["--ranked_levels=1", "--batch_size=6", "--accumulate=2", "--workdir=x"],
        "--accumulate: expected a divisor of 3, the groups of 2 crops in the batch of 6",
    ),
    (
        "train",
        ["--ranked_levels=1", "--variant=glintiqa_tiny", "--model_crop_size=16", "--batch_size=8", "--workdir=x"],
        "--model_crop_size: expected 32 or more, which distortions need, with --ranked_levels",
    ),
    ("train", ["--split_by=x.json", "--workdir=x"], "--split_by: expected auto, published, drawn, all or a file"),
    ("convert_weights", ["--input=nowhere", "--output=x.npz"], "--input=nowhere: expected"),
    ("convert_weights", ["--input=.", "--output=x.npz"], "--input=.: expected a run's"),
    ("convert_weights", ["--input=image00.png", "--output=x"], "--score_range: needed"),
    ("convert_weights", ["--input=image00.png", "--output=x.npz"], "--output=x.npz: expected a new folder, as"),
    ("convert_weights", ["--input=image00.png", "--output=."], "--output=.: expected a new folder, as --input is"),
    (
        "convert_weights",
        ["--input=image00.png", "--output=x", "--score_range=0,1"],
        "--input=image00.png: expected",
    ),
    ("train", ["--workdir=x", "extra"], "expected only --flags, found extra"),
    ("evaluate", ["--model=nowhere"], "--model=nowhere: expected"),
    ("evaluate", ["--model=nowhere", "--output=."], "--output=.: expected a file, found a folder"),
    ("run_rounds", ["--workdir=x", "--split_round=2"], "--split_round=2: is for the rounds to say"),
    (
        "cross_dataset",
        ["--workdir=x", "--train_on=demo,moon"],
        "--train_on: expected each of demo, demo_photographs, csv",
    ),
    ("cross_dataset", ["--workdir=x", "--train_on=demo"], "--test_on: expected another database than"),
    ("cross_dataset", ["--workdir=x", "--train_on=demo,csv"], "--images: needed with --dataset=csv, found nothing"),
    ("ablations", ["--workdir=x", "--tables=heads"], "--tables: expected each of branches"),
    ("ablations", ["--workdir=x", "--tables=saqt"], "--saqt_weights: needed with saqt in --tables"),
    (
        "compare_predictions",
        ["--workdir=x", "--scores=x.csv", "--predictions=a.csv"],
        "--predictions: expected NAME=FILE.csv",
    ),
    ("compare_predictions", ["--workdir=x", "--scores=x.csv", "--predictions=a=a.csv"], "x.csv: cannot be read"),
    (
        "compare_predictions",
        ["--workdir=x", "--scores=x.csv", "--predictions="],
        "--predictions: expected NAME=FILE.csv, each",
    ),
    ("train", ["--workdir=x", "--baselines=oracle"], "baselines: expected names of laplacian_variance"),
]


@pytest.mark.parametrize(("job", "arguments", "message"), MISTAKES)
def test_mistakes_are_one_line_and_exit_code_2(tmp_path, monkeypatch, job, arguments, message):
    write_images(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    done = run(job, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("command", ["score", "evaluate"])
def test_without_a_home_or_a_name_for_the_user(trained, tmp_path, command):
    """As in a container that runs as any number."""
    folder, _, _ = trained
    (tmp_path / "sitecustomize.py").write_text(
        "import pwd\n\ndef nobody(*_):\n    raise KeyError('not found')\n\npwd.getpwuid = pwd.getpwnam = nobody\n"
    )
    kept = {name: value for name, value in os.environ.items() if name.startswith(("JAX_", "PATH"))}
    images = [folder / "images"] if command == "score" else []
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / f"{command}.py", f"--model={folder}/run", *images],
        env=kept | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, heard(done.stderr)) == (0, "")
