"""Photographs as they were taken, or as a model made them: each is its own content, or its prompt is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample, own_contents
from glintiqa_jax.data.fields import number, whole_number
from glintiqa_jax.data.rated_images import SPLIT_WORDS, RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_excel_rows, read_table
from glintiqa_jax.errors import InputError

_KONIQ_SIZES = ("1024x768", "512x384")


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
        RatedImage(name, Path(size, name), score, name, score_std=25.0 * std, split=split)
        for name, score, std, split in zip(names, rows.numbers(column), rows.numbers("SD"), sets, strict=True)
    ]


KONIQ10K = Database(
    name="koniq10k",
    title="KonIQ-10k",
    scale=ScoreScale(0, 100),
    content=Content(10073, 10073),
    origin=Origin(
        "Hosu, Lin, Sziranyi, Saupe, IEEE TIP 29, 2020", "https://database.mmsp-kn.de/koniq-10k-database.html"
    ),
    read=read_koniq10k,
    sample=Sample(
        {
            "koniq10k_distributions_sets.csv": "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set\n"
            "10004473376.jpg,0.0,0.0,0.25,0.5,0.25,105,77.3836206897,0.527277894494,training\n"
            "10007357496.jpg,0.0,0.0,0.25,0.5,0.25,105,68.7285714286,0.5,test\n"
            "826373.jpg,0.0,0.0,0.25,0.5,0.25,105,3.91176470588,0.25,validation\n"
        },
        [
            RatedImage(name, Path("1024x768", name), score, name, 25 * std, split=split)
            for name, score, std, split in (
                ("10004473376.jpg", 77.3836206897, 0.527277894494, "train"),
                ("10007357496.jpg", 68.7285714286, 0.5, "test"),
                ("826373.jpg", 3.91176470588, 0.25, "validation"),
            )
        ],
    ),
)


def read_spaq(folder: SourceFolder) -> list[RatedImage]:
    """SPAQ: ``MOS and Image attribute scores.xlsx`` ("Image name", "MOS"), images in ``TestImage``."""
    table = folder.file("MOS and Image attribute scores.xlsx", "MOS_and_Image_attribute_scores.xlsx")
    return own_contents(read_table(table, ["Image name", "MOS"]), "Image name", "MOS", folder="TestImage")


SPAQ = Database(
    name="spaq",
    title="SPAQ",
    scale=ScoreScale(0, 100),
    content=Content(11125, 11125),
    origin=Origin(
        "Fang, Zhu, Zeng, Ma, Wang, CVPR 2020",
        "https://github.com/h4nwei/SPAQ",
        "MIT, as an author answered in the repository's issue 29",
    ),
    read=read_spaq,
    sample=Sample(
        {
            "Annotations/MOS and Image attribute scores.xlsx": {
                "Sheet1": [["Image name", "MOS", "Brightness"], ["00001.jpg", 48.86, 50.0], ["11125.jpg", 10.8, 50.0]]
            },
            "Annotations/Scene category labels.xlsx": {"Sheet1": [["Image name", "Animal"], ["00001.jpg", 0]]},
        },
        [
            RatedImage("00001.jpg", Path("TestImage/00001.jpg"), 48.86, "00001.jpg"),
            RatedImage("11125.jpg", Path("TestImage/11125.jpg"), 10.8, "11125.jpg"),
        ],
    ),
)


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


def read_flive(folder: SourceFolder) -> list[RatedImage]:
    """LIVE-FB (FLIVE, PaQ-2-PiQ): ``labels_image.csv`` (name, mos); names are paths from the root."""
    table = folder.file("labels_image.csv")
    return own_contents(read_table(table, ["name", "mos"]), "name", "mos")


FLIVE = Database(
    name="flive",
    title="LIVE-FB (FLIVE, PaQ-2-PiQ)",
    scale=ScoreScale(0, 100),
    content=Content(39810, 39810),
    origin=Origin("Ying et al., CVPR 2020", "https://github.com/niu-haoran/FLIVE_Database"),
    read=read_flive,
    sample=Sample(
        {
            "labels_image.csv": "name,mos,mos_patch_1,zscore,is_valid,width,height\n"
            "voc_emotic_ava/AVA__149.jpg,73.21428571428571,70.5,0.1,False,2,2\n"
            "blur_dataset/out_of_focus0027.JPG,40.5,70.5,0.1,False,2,2\n"
        },
        [
            RatedImage(name, Path("database", name), score, name)
            for name, score in (
                ("voc_emotic_ava/AVA__149.jpg", 73.21428571428571),
                ("blur_dataset/out_of_focus0027.JPG", 40.5),
            )
        ],
    ),
)


def read_biq2021(folder: SourceFolder) -> list[RatedImage]:
    """BIQ2021: one CSV of the published training images and one of the test images, with trailing blank columns."""
    images = []
    for file, split in (("Train (Images and MOS).csv", "train"), ("Test (Images and MOS).csv", "test")):
        table = folder.file(file)
        rows = read_table(table)
        images += own_contents(rows, *_image_and_score_columns(table, rows.columns), folder="Images", split=split)
    return images


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


BIQ2021 = Database(
    name="biq2021",
    title="BIQ2021",
    scale=ScoreScale(0, 1),
    content=Content(12000, 12000, merge_near_duplicates=True),
    origin=Origin(
        "Ahmed, Asif, Journal of Electronic Imaging 31(5), 2022",
        "https://github.com/nisarahmedrana/BIQ2021",
        "freely available for use and benchmarking",
    ),
    read=read_biq2021,
    sample=Sample(
        {
            "Train (Images and MOS).csv": "Image Name,MOS,,\nss03 (3753).jpg,0.8471,,\nss01 (1726).JPG,0.2874,,\n",
            "Test (Images and MOS).csv": "Image Name,MOS\nss03 (793).jpg,0.0\n",
        },
        [
            RatedImage(name, Path("Images", name), score, name, split=split)
            for name, score, split in (
                ("ss03 (3753).jpg", 0.8471, "train"),
                ("ss01 (1726).JPG", 0.2874, "train"),
                ("ss03 (793).jpg", 0.0, "test"),
            )
        ],
    ),
)


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


ROWS = (
    KONIQ10K,
    SPAQ,
    BID,
    FLIVE,
    BIQ2021,
    AGIQA3K,
)
