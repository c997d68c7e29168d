"""``build_saqt`` as a user runs it: photographs in, a dataset out that training takes."""

import contextlib
import csv
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pristine import write_photographs
from test_jobs import ROOT, TINY, run

from glintiqa_jax.cli.jobs import build_saqt
from glintiqa_jax.data.records import RecordSource, records_folder
from glintiqa_jax.datasets.opening import open_dataset
from glintiqa_jax.saqt.features import FEATURES
from glintiqa_jax.saqt.kadid_scores import MEAN_SCORES
from glintiqa_jax.saqt.transfer import TRANSFERS

COMMAND = ROOT / "experiments" / "build_saqt.py"
NAMES = ["beach", "town/square", "town/station"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Photographs to distort in pristine/, two rated references in kadid/."""
    folder = tmp_path_factory.mktemp("saqt")
    write_photographs(folder / "pristine", NAMES, side=48)
    write_photographs(folder / "kadid" / "images", ["I01", "I02"], side=48)  # the first two photographs' scenes
    with (folder / "kadid" / "dmos.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dist_img", "ref_img", "dmos"])
        for number, reference in enumerate(["I01", "I02"]):
            for kind, level in np.ndindex(25, 5):
                score = 1 + number + kind / 10 + level / 10
                writer.writerow([f"{reference}_{kind + 1:02d}_{level + 1:02d}.png", f"{reference}.png", score])
    return folder


def top1(world):
    """The flags of the paper's transfer from its references."""
    return [
        f"--sources={world}/pristine",
        f"--reference_scores={world}/kadid/dmos.csv",
        f"--reference_images={world}/kadid/images",
        "--transfer=top1",
        "--features=colour_texture",
    ]


@pytest.fixture(scope="module")
def built(world):
    """Folder with out/ and data/ that one command made, and what it said."""
    done = run(
        "build_saqt",
        *top1(world),
        f"--output={world}/out",
        f"--data_dir={world}/data",
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done


def labels(folder):
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_it_says_what_it_made_and_how_to_go_on(world, built):
    assert "375 images of 3 photographs" in built.stdout
    assert f"glintiqa train --dataset=saqt --data_dir={world}/data" in built.stdout
    card = (world / "data" / "rated_images" / "saqt" / "1.1.0" / "card.md").read_text()
    assert "scores by top1 over colour_texture from dmos.csv" in card


@pytest.mark.slow
def test_images_get_the_scores_of_the_reference_they_match(world, built):
    rows = {row["distorted_image"]: row for row in labels(world / "out")}
    assert len(rows) == 375
    assert all((world / "out" / name).is_file() for name in rows)
    # the photographs "beach" and "town/square" are the references' own scenes
    low, high = 1.0, 1 + 1 + 2.4 + 0.4
    for source, reference, number in [("beach", "I01.png", 0), ("town/square", "I02.png", 1)]:
        row = rows[f"{source}/{source.split('/')[-1]}_07_03.png"]
        assert (row["source_image"], row["matched_reference"]) == (source, reference)
        assert (row["distortion_type"], row["distortion_level"]) == ("7", "3")
        assert float(row["quality_score"]) == pytest.approx(9 * (1 + number + 0.6 + 0.2 - low) / (high - low), abs=1e-4)


@pytest.mark.slow
def test_training_takes_it_on_the_fly_as_it_takes_what_is_written(world, built, tmp_path):
    flags = [f"--sources={world}/pristine", "--transfer=mean", "--on_the_fly", f"--data_dir={tmp_path}/data"]
    done = run("build_saqt", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(RecordSource(records_folder("saqt", tmp_path / "data"))) == 3
    for folder in (tmp_path, world):
        assert len(open_dataset("saqt", data_dir=folder / "data")) == 375
    flags = [*TINY, "--dataset=saqt", "--split_by=drawn", "--max_steps=2", "--validation_fraction=0.3"]
    done = run("train", *flags, f"--data_dir={tmp_path}/data", f"--workdir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    assert "(125 images)" in done.stdout


@pytest.mark.slow
def test_the_means_need_no_database(world, tmp_path):
    flags = [f"--sources={world}/pristine", "--transfer=mean", f"--data_dir={tmp_path}"]
    done = run("build_saqt", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    source = open_dataset("saqt", data_dir=tmp_path)
    assert len(source) == 375
    part = (MEAN_SCORES - MEAN_SCORES.min()) / np.ptp(MEAN_SCORES)
    np.testing.assert_allclose(source.index.raw_scores[:125], 9 * part.ravel(), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["rated_images"]  # the images themselves are gone
    again, other = run("build_saqt", *flags), run("build_saqt", *flags, "--seed=1")
    assert (again.stdout, again.stderr) == (done.stdout, "")
    assert (other.returncode, other.stdout) == (2, "")
    assert "already prepared" in other.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["rated_images"]


@pytest.mark.slow
def test_what_is_damaged_is_made_anew_by_the_same_command(world, built, tmp_path):
    shutil.copytree(world / "out", tmp_path / "out")
    shutil.copytree(world / "data", tmp_path / "data")
    whole = contents(tmp_path / "out")
    (tmp_path / "out" / "beach" / "beach_07_03.png").unlink()
    (tmp_path / "out" / "town" / "square" / "square_01_01.png").write_bytes(b"")
    (tmp_path / "out" / "labels.csv").unlink()
    (records,) = (tmp_path / "data").rglob("*.array_record*")
    records.unlink()
    done = run("build_saqt", *top1(world), f"--output={tmp_path}/out", f"--data_dir={tmp_path}/data")
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(tmp_path / "out") == whole
    assert open_dataset("saqt", data_dir=tmp_path / "data")[374]["image"].shape == (48, 48, 3)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_signal_ends_it_and_the_same_command_goes_on(tmp_path):
    """Whether it can still tell its processes to end, or was killed itself."""
    write_photographs(tmp_path / "pristine", [f"{number:02d}" for number in range(12)], side=96)
    flags = [f"--sources={tmp_path}/pristine", "--transfer=mean", f"--output={tmp_path}/out", "--workers=2"]
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        done = {path.parent.name for path in (tmp_path / "out").glob("*/.made_of")}
        process = subprocess.Popen(
            [sys.executable, str(COMMAND), *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            while process.poll() is None and not set(partial(tmp_path / "out")) - done:
                time.sleep(0.02)
            workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            if number == signal.SIGINT:
                os.killpg(process.pid, number)  # as a terminal does
            else:
                process.kill()
            out, err = process.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == code, err
        assert (out, err) == ("", "interrupted; run the same command again\n" * (code == 130))
        assert len(workers) >= 1
        assert bool(partial(tmp_path / "out")) == (code == -9)
    assert run("build_saqt", *flags).stdout == f"1,500 images of 12 photographs: {tmp_path}/out/labels.csv\n"
    assert len(list((tmp_path / "out").rglob("*.png"))) == 1500
    assert not partial(tmp_path / "out")


def partial(folder):
    return [path.name for path in folder.glob(".partial-*")]


@pytest.mark.slow
def test_beam_writes_the_same(world, built, tmp_path):
    pytest.importorskip("apache_beam", reason="needs the extra beam")
    done = run(
        "build_saqt",
        *top1(world),
        f"--output={tmp_path}/out",
        f"--data_dir={tmp_path}/data",
        "--beam_options=--runner=DirectRunner",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert labels(tmp_path / "out") == labels(world / "out")
    for row in labels(world / "out"):
        name = row["distorted_image"]
        assert (tmp_path / "out" / name).read_bytes() == (world / "out" / name).read_bytes()
    ours, theirs = (open_dataset("saqt", data_dir=folder / "data") for folder in (world, tmp_path))
    assert ours.index.names == theirs.index.names
    for position in range(0, 375, 7):
        np.testing.assert_array_equal(ours[position]["image"], theirs[position]["image"])
    written = [
        dataclasses.replace(one.card.written, files={}) for one in (ours, theirs)
    ]  # TFDS counts shards otherwise
    assert written[0] == written[1]
    assert dataclasses.replace(ours.card, written=None) == dataclasses.replace(theirs.card, written=None)


# flags beside --sources=pristine, and what they are told
MISTAKES = [
    ([], r"--output, --data_dir: expected a folder .*found neither"),
    (["--output=pristine/x", "--transfer=mean"], "--output=pristine/x: expected a folder outside of --sources"),
    (["--output=.", "--transfer=mean"], r"--output=.: expected a folder that does not hold --sources"),
    (
        ["--output=linked", "--transfer=mean", "--sources=links"],
        "--output=linked: expected a folder without photographs",
    ),
    (["--output=kadid/dmos.csv", "--transfer=mean"], "--output=kadid/dmos.csv: expected a folder, found a file"),
    (["--output=kadid/dmos.csv/x", "--transfer=mean"], "--output=kadid/dmos.csv/x: expected a folder, found a file"),
    (["--output=kadid", "--transfer=mean"], "--output=kadid: expected no such folder, an empty one"),
    (["--output=gs://b/x", "--transfer=mean"], "--output=gs://b/x: expected a path of this machine"),
    (["--data_dir=x", "--reference_scores=kadid/dmos.csv"], "--reference_images: needed with --transfer=shrunk"),
    (["--output=x", "--transfer=mean", "--workers=100000"], "--workers=100000: expected at most"),
    (["--output=x", "--transfer=mean", "--max_side=31"], "--max_side=31: expected at least 32"),
    (["--output=x", "--transfer=mean", "--sources="], "--sources: expected a folder of photographs, found nothing"),
    (["--output=x", "--transfer=mean", "--sources=nowhere"], "--sources=nowhere: .*, found nothing there"),
    (["--output=x", "--transfer=mean", "--sources=kadid/dmos.csv"], "--sources=kadid/dmos.csv: .*, found a file"),
    (["--data_dir=x", "--transfer=mean", "--on_the_fly", "--output=x"], "--on_the_fly: makes no images now"),
]
TABLES = [
    (["--reference_scores=none.csv"], "none.csv: "),
    (["--reference_scores=kadid"], "kadid: "),
    (["--reference_scores=short.csv"], "short.csv: .* 2 are missing: I02.png type 25 level 4"),
    (["--reference_scores=same.csv"], "same.csv: expected scores that differ, found 3 alone"),
    (["--features=resnet50"], "--weights: features of resnet50 need its ImageNet weights"),
    (["--features=resnet50", "--weights=none.pth"], "--weights=none.pth: .* found no such file"),
    (["--features=resnet50", "--weights=short.csv"], "--weights=short.csv: expected a PyTorch checkpoint"),
    (["--source_features=short.csv"], r"short.csv: expected a file of features \(.npz\)"),
    (["--source_features=no/x.npz"], "--source_features=no/x.npz: expected a file in an existing folder"),
    (["--denoiser=short.csv"], "short.csv: expected a PyTorch checkpoint"),
    (["--reference_images=pristine"], "--reference_images=pristine: .* 2 are missing"),
]


def test_a_mistake_is_one_line_before_any_work(world, monkeypatch):
    monkeypatch.chdir(world)
    (world / "linked").mkdir(exist_ok=True)
    shutil.copy(world / "pristine" / "beach.png", world / "linked")
    (world / "links").mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (world / "links" / "linked").symlink_to(world / "linked")
    header, *rows = (world / "kadid" / "dmos.csv").read_text().splitlines()
    (world / "short.csv").write_text("\n".join([header, *rows[:-2]]))
    (world / "same.csv").write_text("\n".join([header, *(row.rpartition(",")[0] + ",3" for row in rows)]))
    tables = ["--output=x", "--transfer=top1", "--features=colour_texture", "--reference_images=kadid/images"]
    cases = [(["--sources=pristine", *flags], message) for flags, message in MISTAKES]
    tables.append("--reference_scores=kadid/dmos.csv")
    cases += [(["--sources=pristine", *tables, *flags], message) for flags, message in TABLES]
    for flags, message in cases:
        done = run("build_saqt", *flags)
        assert (done.returncode, done.stdout) == (2, ""), flags
        (line,) = done.stderr.splitlines()
        assert re.match(f"error: {message}", line), line
    assert not (world / "x").exists()


def test_the_choices_are_the_librarys():
    """They are written out in the job, where importing them would take seconds before a mistyped flag is named."""
    text = Path(build_saqt.__file__).read_text()
    for choices in ((*TRANSFERS, "random"), FEATURES):
        assert str(choices).replace("'", '"') in text
