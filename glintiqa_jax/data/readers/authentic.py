"""Databases of photographs and generated images as they are: each image its own content, or each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glintiqa_jax.data.rated_images import SPLIT_WORDS, RatedImage
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import Table, number, read_excel_rows, read_matlab, read_table, whole_number
from glintiqa_jax.errors import InputError

_CLIVE_PRACTICE = 7  # the first entries of its score files are the observers' practice images
_KONIQ_SIZES = ("1024x768", "512x384")


def read_clive(folder: SourceFolder) -> list[RatedImage]:
    """LIVE In the Wild Challenge: three ``.mat`` files of names, MOS and deviations; practice images left out."""
    tables = [folder.file(f"All{kind}_release.mat") for kind in ("Images", "MOS", "StdDev")]
    variables = [f"All{kind}_release" for kind in ("Images", "MOS", "StdDev")]
    names, scores, stds = (read_matlab(table, variable) for table, variable in zip(tables, variables, strict=True))
    for table, values in zip(tables[1:], (scores, stds), strict=True):
        if len(values) != len(names):
            raise InputError(file=table, expected=f"{len(names)} entries, one for each image", found=len(values))
    rated = list(zip(names, scores, stds, strict=True))[_CLIVE_PRACTICE:]
    if not rated:
        raise InputError(file=tables[0], expected=f"images after the {_CLIVE_PRACTICE} practice images", found="none")
    return [
        RatedImage(str(name), Path("Images", str(name)), float(score), group=str(name), score_std=float(std))
        for name, score, std in rated
    ]


def read_koniq10k(folder: SourceFolder) -> list[RatedImage]:
    """KonIQ-10k: ``koniq10k_distributions_sets.csv``, which has the sets, or ``..._scores_and_distributions``.

    Scores are the z-score MOS in 0..100, which the first calls MOS and the second MOS_zscore. Deviations are of the
    ratings 1..5 and are brought to that range. Of the two sizes of the images, 1024x768 is taken where it is there.
    """
    table = folder.file("koniq10k_distributions_sets.csv", "koniq10k_scores_and_distributions.csv")
    with_sets = table.name.lower() == "koniq10k_distributions_sets.csv"
    column = "MOS" if with_sets else "MOS_zscore"
    size = next((size for size in _KONIQ_SIZES if folder.has_folder(size)), "")
    rows = read_table(table, ["image_name", column, "SD", *["set"] * with_sets])
    names = rows.texts("image_name")
    sets = rows.words("set", SPLIT_WORDS) if with_sets else [""] * len(names)
    return [
        RatedImage(
            name=name,
            image=Path(size, name),
            raw_score=score,
            score_std=25.0 * std,  # (100 - 0) / (5 - 1)
            group=name,
            split=split,
        )
        for name, score, std, split in zip(names, rows.numbers(column), rows.numbers("SD"), sets, strict=True)
    ]


def read_spaq(folder: SourceFolder) -> list[RatedImage]:
    """SPAQ: ``MOS and Image attribute scores.xlsx`` ("Image name", "MOS"), images in ``TestImage``."""
    table = folder.file("MOS and Image attribute scores.xlsx", "MOS_and_Image_attribute_scores.xlsx")
    return _own_contents(read_table(table, ["Image name", "MOS"]), "Image name", "MOS", folder="TestImage")


def read_bid(folder: SourceFolder) -> list[RatedImage]:
    """BID: ``DatabaseGrades.xlsx``, a header row, then image number and score."""
    table = folder.file("DatabaseGrades.xlsx")
    images = []
    for line, row in read_excel_rows(table)[1:]:
        if len(row) < 2:
            raise InputError(file=f"{table}, line {line}", expected="a number and a score", found=f"{len(row)} cells")
        name = f"DatabaseImage{whole_number(row[0], table, line, 'image number'):04d}.JPG"
        score = number(row[1], table, line, "score")
        images.append(RatedImage(name, Path(name), score, group=name))
    return images


def read_flive(folder: SourceFolder) -> list[RatedImage]:
    """LIVE-FB (FLIVE, PaQ-2-PiQ): ``labels_image.csv`` (name, mos); names are paths from the root."""
    table = folder.file("labels_image.csv")
    return _own_contents(read_table(table, ["name", "mos"]), "name", "mos")


def read_biq2021(folder: SourceFolder) -> list[RatedImage]:
    """BIQ2021: one CSV of the published training images and one of the test images, with trailing blank columns."""
    images = []
    for file, split in (("Train (Images and MOS).csv", "train"), ("Test (Images and MOS).csv", "test")):
        table = folder.file(file)
        rows = read_table(table)
        images += _own_contents(rows, *_image_and_score_columns(table, rows.columns), folder="Images", split=split)
    return images


def read_agiqa3k(folder: SourceFolder) -> list[RatedImage]:
    """AGIQA-3K: ``data.csv`` (name, prompt, mos_quality, std_quality); the images of a prompt are one content."""
    table = folder.file("data.csv")
    rows = read_table(table, ["name", "prompt", "mos_quality", "std_quality"])
    scores, stds = rows.numbers("mos_quality"), rows.numbers("std_quality")
    return [
        RatedImage(name, Path(name), score, group=prompt, score_std=std)
        for name, prompt, score, std in zip(rows.texts("name"), rows.texts("prompt"), scores, stds, strict=True)
    ]


def _own_contents(
    rows: Table, name_column: str, score_column: str, *, folder: str = "", split: str = ""
) -> list[RatedImage]:
    """The images of a table, each its own content."""
    return [
        RatedImage(name, Path(folder, name), score, group=name, split=split)
        for name, score in zip(rows.texts(name_column), rows.numbers(score_column), strict=True)
    ]


def _image_and_score_columns(table: Path, columns: Sequence[str]) -> tuple[str, str]:
    """The column of names and the one of MOS, by what their headers say: copies differ in the exact words."""
    names, scores = (
        [column for column in columns if column and column.strip().lower() in known]
        for known in (("image", "images", "image name", "name"), ("mos", "score"))
    )
    if len(names) != 1 or len(scores) != 1:
        raise InputError(
            file=table, expected="columns Images and MOS", found=", ".join(filter(None, columns)) or "none"
        )
    return names[0], scores[0]
