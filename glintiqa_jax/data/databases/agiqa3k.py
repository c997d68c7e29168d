"""AGIQA-3K (2023)."""

from __future__ import annotations

from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_table


def read_agiqa3k(folder: SourceFolder) -> list[RatedImage]:
    """AGIQA-3K: ``data.csv`` (name, prompt, mos_quality, std_quality); the images of a prompt are one content."""
    table = folder.file("data.csv")
    rows = read_table(table, ["name", "prompt", "mos_quality", "std_quality"])
    scores, stds = rows.numbers("mos_quality"), rows.numbers("std_quality")
    return [
        RatedImage(name, Path(name), score, prompt, score_std=std)
        for name, prompt, score, std in zip(rows.texts("name"), rows.texts("prompt"), scores, stds, strict=True)
    ]


AGIQA3K = Database(
    name="agiqa3k",
    title="AGIQA-3K",
    scale=ScoreScale(0, 5),
    content=Content(2982, 300, "prompt"),
    origin=Origin("Li et al., IEEE TCSVT, 2023", "https://github.com/lcysyzxdxc/AGIQA-3k-Database", "MIT"),
    read=read_agiqa3k,
    sample=Sample(
        {
            "data.csv": "name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align\n"
            "AttnGAN_normal_000.jpg,statue of a man,,,,0.965602553,0.223270101,0.4,0.6\n"
            'xl2.2_normal_299.jpg,"a giraffe, hyper detail",,,,3.60083465,0.486499893,0.4,0.6\n'
        },
        [
            RatedImage(name, Path(name), score, prompt, std)
            for name, score, prompt, std in (
                ("AttnGAN_normal_000.jpg", 0.965602553, "statue of a man", 0.223270101),
                ("xl2.2_normal_299.jpg", 3.60083465, "a giraffe, hyper detail", 0.486499893),
            )
        ],
    ),
)
