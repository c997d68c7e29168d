"""BID (2011)."""

from __future__ import annotations

from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import number, read_excel_rows, whole_number
from glintiqa_jax.errors import InputError


def read_bid(folder: SourceFolder) -> list[RatedImage]:
    """BID: ``DatabaseGrades.xlsx``, a header row, then image number and score."""
    table = folder.file("DatabaseGrades.xlsx")
    images = []
    for line, row in read_excel_rows(table)[1:]:
        if len(row) < 2:
            raise InputError(file=f"{table}, line {line}", expected="a number and a score", found=f"{len(row)} cells")
        name = f"DatabaseImage{whole_number(row[0], table, line, 'image number'):04d}.JPG"
        score = number(row[1], table, line, "score")
        images.append(RatedImage(name, Path(name), score, name))
    return images


BID = Database(
    name="bid",
    title="BID",
    scale=ScoreScale(0, 5),
    content=Content(586, 586),
    origin=Origin("Ciancio et al., IEEE TIP 20(1), 2011", "https://www02.smt.ufrj.br/~eduardo/ImageDatabase.htm"),
    read=read_bid,
    sample=Sample(
        {
            "DatabaseGrades.xlsx": {
                "Plan1": [["Image Number", "Average Subjective Grade", "std"], [456, 3.180518, 0.5], [1, 4.919752, 0.5]]
            }
        },
        [
            RatedImage(name, Path("ImageDatabase", name), score, name)
            for name, score in (("DatabaseImage0456.JPG", 3.180518), ("DatabaseImage0001.JPG", 4.919752))
        ],
    ),
)
