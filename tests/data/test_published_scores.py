"""The databases' own scores, all of them, laid out as distributed with stand-ins for the images.

The lists are a developer's reference data; tests skip where they are absent. Counts and directions are the
databases' published ones.
"""

import csv
import shutil
from pathlib import Path

import databases
import numpy as np
import pytest
import scipy.io
from databases import Row

from glintiqa_jax.data.databases import DATABASES, read_database
from glintiqa_jax.data.rated_images import Collection

# images, content groups, lower is better
PUBLISHED = {
    "live": (779, 29, True),
    "csiq": (866, 30, True),
    "tid2013": (3000, 25, False),
    "kadid10k": (10125, 81, False),
    "livemd": (450, 15, True),
    "pipal": (23200, 200, False),
    "clive": (1162, 1162, False),
    "koniq10k": (10073, 10073, False),
    "spaq": (11125, 11125, False),
    "bid": (586, 586, False),
    "agiqa3k": (2982, 300, False),
}


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_list(path: Path, parts: int = 1) -> list[Row]:
    """Rows of a list of paths, references and scores; names are the last ``parts`` parts of a path."""
    return [
        Row(
            name="/".join(row["dis_img_path"].split("/")[-parts:]),
            score=float(row["score"]),
            reference=row.get("ref_img_path", "").rsplit("/", 1)[-1],
        )
        for row in read_csv(path)
    ]


def check(name: str, folder: Path, scores: dict[str, float], references: dict[str, str] | None = None) -> Collection:
    """Reads a database; every score is the list's to the last digit, and counts and direction are the published."""
    collection = read_database(name, folder)
    images = list(collection.images())
    assert {image.name: image.raw_score for image in images} == scores
    assert (len(images), len({image.group for image in images}), collection.scale.lower_is_better) == PUBLISHED[name]
    assert (DATABASES[name].content.images, DATABASES[name].content.groups) == PUBLISHED[name][:2]
    assert collection.notes == collection.missing == ()
    if references is not None:
        assert {image.name: image.reference.lower() for image in images} == references
    return collection


def check_list(name: str, folder: Path, rows: list[Row]) -> Collection:
    names = [row.name.rsplit("/")[-1] if name == "pipal" else row.name for row in rows]
    references = dict(zip(names, [row.reference.lower() for row in rows], strict=True)) if rows[0].reference else None
    return check(name, folder, dict(zip(names, [row.score for row in rows], strict=True)), references)


def worsens_with_the_level(collection: Collection) -> bool:
    """Whether mean quality falls from each level of distortion to the next."""
    levels: dict[int, list[float]] = {}
    for image in collection.images():
        levels.setdefault(image.distortion_level, []).append(collection.scale.to_quality(image.raw_score))
    assert sorted(levels) == [1, 2, 3, 4, 5]
    return bool((np.diff([np.mean(levels[level]) for level in sorted(levels)]) < 0).all())


@pytest.mark.parametrize(("name", "file"), [("live", "LIVE.txt"), ("livemd", "LIVE_MD.txt")])
def test_live_and_live_multiply_distorted(shared, tmp_path, name, file):
    rows = read_list(shared / "scores" / "lists" / file, 2)
    (databases.live if name == "live" else databases.livemd)(tmp_path, rows)
    check_list(name, tmp_path, rows)


def test_csiq(shared, tmp_path):
    rows = read_list(shared / "scores" / "lists" / "CSIQ.txt")
    databases.csiq(tmp_path / "sheet", rows)
    databases.csiq_list(tmp_path / "list", rows)
    check_list("csiq", tmp_path / "list", rows)
    sheet = read_database("csiq", tmp_path / "sheet")
    by_name = {image.name.lower(): image.raw_score for image in sheet.images()}
    assert by_name == {row.name.lower(): row.score for row in rows}
    assert sheet.notes == sheet.missing == ()
    assert worsens_with_the_level(sheet)


def test_tid2013(shared, tmp_path):
    rows = read_list(shared / "scores" / "lists" / "TID2013.txt")
    databases.tid(tmp_path, rows)
    collection = check_list("tid2013", tmp_path, rows)
    images = list(collection.images())
    assert {image.distortion_type for image in images} == set(range(1, 25))
    # Higher levels are worse on the whole, but for distortions that have a direction, such as contrast.
    first, last = (
        np.mean([image.raw_score for image in images if image.distortion_level == level]) for level in (1, 5)
    )
    assert first > 5 > 4 > last


def test_kadid10k(shared, tmp_path):
    source = shared / "scores" / "kadid10k" / "dmos.csv"
    table = read_csv(source)
    shutil.copyfile(source, tmp_path / "dmos.csv")
    databases.write_stand_ins(tmp_path / "images", [row["dist_img"] for row in table])
    collection = check(
        "kadid10k",
        tmp_path,
        {row["dist_img"]: float(row["dmos"]) for row in table},
        {row["dist_img"]: row["ref_img"].lower() for row in table},
    )
    assert worsens_with_the_level(collection)
    assert {image.distortion_type for image in collection.images()} == set(range(1, 26))


def test_pipal(shared, tmp_path):
    rows = read_list(shared / "scores" / "lists" / "PIPAL.txt", 2)
    databases.pipal(tmp_path, rows)
    check_list("pipal", tmp_path, rows)


def test_live_challenge(shared, tmp_path):
    files = {kind: f"All{kind}_release" for kind in ("Images", "MOS", "StdDev")}
    (tmp_path / "Data").mkdir()
    values = {}
    for kind, file in files.items():
        source = shared / "scores" / "live_challenge_mat" / f"{file}.mat"
        shutil.copyfile(source, tmp_path / "Data" / f"{file}.mat")
        values[kind] = scipy.io.loadmat(source)[file].ravel()
    names = [str(cell[0]) for cell in values["Images"]]
    databases.write_stand_ins(tmp_path / "Images", names[7:])
    databases.write_stand_ins(tmp_path / "Images" / "trainingImages", names[:7])
    collection = check("clive", tmp_path, dict(zip(names[7:], values["MOS"][7:].tolist(), strict=True)))
    assert [image.score_std for image in collection.images()] == values["StdDev"][7:].tolist()
    # A list from elsewhere, of rounded scores, has each image's score beside the same name.
    scores = {image.name: image.raw_score for image in collection.images()}
    rows = read_list(shared / "scores" / "lists" / "LIVE_Challenge.txt")
    assert len(rows) > 1100
    assert [scores[row.name] for row in rows] == pytest.approx([row.score for row in rows], abs=1e-4)


def test_koniq10k(shared, tmp_path):
    source = shared / "scores" / "lists" / "koniq10k_distributions_sets.csv"
    table = read_csv(source)
    shutil.copyfile(source, tmp_path / "koniq10k_distributions_sets.csv")
    databases.write_stand_ins(tmp_path / "512x384", [row["image_name"] for row in table])
    collection = check("koniq10k", tmp_path, {row["image_name"]: float(row["MOS"]) for row in table})
    images = list(collection.images())
    splits = [image.split for image in images]
    assert [splits.count(split) for split in ("train", "validation", "test")] == [7058, 1000, 2015]
    assert [image.score_std for image in images] == [25 * float(row["SD"]) for row in table]


def test_spaq(shared, tmp_path):
    rows = read_list(shared / "scores" / "lists" / "SPAQ.txt")
    databases.spaq(tmp_path, rows)
    check_list("spaq", tmp_path, rows)


def test_bid(shared, tmp_path):
    lines = (shared / "scores" / "lists" / "bid_all.txt").read_text().splitlines()
    table = [line.split("\t") for line in lines]
    rows = [Row(name.rsplit("/", 1)[-1], float(score), float(std)) for name, score, std in table]
    databases.bid(tmp_path, rows)
    check_list("bid", tmp_path, rows)


def test_agiqa3k(shared, tmp_path):
    source = shared / "scores" / "lists" / "agiqa3k_data.csv"
    table = read_csv(source)
    shutil.copyfile(source, tmp_path / "data.csv")
    databases.write_stand_ins(tmp_path, [row["name"] for row in table])
    collection = check("agiqa3k", tmp_path, {row["name"]: float(row["mos_quality"]) for row in table})
    images = list(collection.images())
    assert [image.score_std for image in images] == [float(row["std_quality"]) for row in table]
    assert [image.group for image in images] == [row["prompt"].strip() for row in table]
