"""``build_saqt.py`` as a user runs it: photographs in, a dataset out that training takes."""

import csv
import re

import numpy as np
import pytest
from pristine import write_photographs
from test_commands import ROOT, TINY, run

from glintiqa_jax.data.source import open_dataset
from glintiqa_jax.saqt.features import FEATURES
from glintiqa_jax.saqt.kadid_scores import MEAN_SCORES
from glintiqa_jax.saqt.transfer import TRANSFERS

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
    assert done.returncode == 0, done.stderr
    return done


def labels(folder):
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_it_says_what_it_made_and_how_to_go_on(world, built):
    assert "375 images of 3 photographs" in built.stdout
    assert f"train.py --dataset=saqt --data_dir={world}/data" in built.stdout
    assert "arning" not in built.stderr
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
def test_training_takes_it_written_or_on_the_fly(world, built, tmp_path):
    done = run(
        "build_saqt",
        f"--sources={world}/pristine",
        "--transfer=mean",
        "--on_the_fly",
        f"--data_dir={tmp_path}/data",
    )
    assert done.returncode == 0, done.stderr
    assert len(open_dataset("saqt", data_dir=tmp_path / "data")) == 3
    flags = [*TINY, "--dataset=saqt", "--split_by=drawn", "--max_steps=2", "--validation_fraction=0.3"]
    for data_dir in (world / "data", tmp_path / "data"):
        done = run("train", *flags, f"--data_dir={data_dir}", f"--workdir={tmp_path}/{data_dir.parent.name}")
        assert done.returncode == 0, done.stderr
        assert "(125 images)" in done.stdout


@pytest.mark.slow
def test_the_means_need_no_database(world, tmp_path):
    done = run("build_saqt", f"--sources={world}/pristine", "--transfer=mean", f"--data_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    source = open_dataset("saqt", data_dir=tmp_path)
    assert len(source) == 375
    part = (MEAN_SCORES - MEAN_SCORES.min()) / np.ptp(MEAN_SCORES)
    np.testing.assert_allclose(source.index.raw_scores[:125], 9 * part.ravel(), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["rated_images"]  # the images themselves are gone
    again = run("build_saqt", f"--sources={world}/pristine", "--transfer=mean", f"--data_dir={tmp_path}")
    assert again.stdout == done.stdout
    assert "distorting" not in again.stderr
    other = run("build_saqt", f"--sources={world}/pristine", "--transfer=mean", f"--data_dir={tmp_path}", "--seed=1")
    assert other.returncode == 2
    assert "already prepared" in other.stderr
    assert "distorting" not in other.stderr


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
    assert "not found" not in done.stderr
    assert "arning" not in done.stderr
    assert labels(tmp_path / "out") == labels(world / "out")
    for row in labels(world / "out"):
        name = row["distorted_image"]
        assert (tmp_path / "out" / name).read_bytes() == (world / "out" / name).read_bytes()
    ours, theirs = (open_dataset("saqt", data_dir=folder / "data") for folder in (world, tmp_path))
    assert ours.index.names == theirs.index.names
    for position in range(0, 375, 7):
        np.testing.assert_array_equal(ours[position]["image"], theirs[position]["image"])
    assert ours.card == theirs.card


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], r"--output, --data_dir: expected a folder .*found neither"),
        (["--output=pristine/x", "--transfer=mean"], "--output=pristine/x: expected a folder outside of --sources"),
        (["--data_dir=x", "--reference_scores=kadid/dmos.csv"], "--reference_images: needed with --transfer=shrunk"),
    ],
)
def test_a_mistake_is_one_line(world, flags, message):
    done = run("build_saqt", "--sources=pristine", *flags, cwd=world)
    assert done.returncode == 2, done.stdout
    (line,) = done.stderr.splitlines()
    assert re.match(f"error: {message}", line)
    assert not (world / "x").exists()


def test_the_choices_are_the_librarys():
    """They are written out in the command, where importing them would take seconds before a mistyped flag is named."""
    text = (ROOT / "experiments" / "build_saqt.py").read_text()
    for choices in ((*TRANSFERS, "random"), FEATURES):
        assert str(choices).replace("'", '"') in text
