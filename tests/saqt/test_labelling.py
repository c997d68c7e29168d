"""What photographs score, and every way to ask for it that cannot be."""

import csv

import numpy as np
import pytest
from pristine import write_photographs

from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt import features
from glintiqa_jax.saqt.generation import Recipe
from glintiqa_jax.saqt.kadid_scores import MEAN_SCORES
from glintiqa_jax.saqt.labelling import Labelling
from glintiqa_jax.saqt.photographs import find_photographs

REFERENCES = ["I01", "I02", "I03"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three rated references in kadid/; the same scenes under other names in pristine/."""
    folder = tmp_path_factory.mktemp("labelling")
    write_photographs(folder / "kadid" / "images", REFERENCES, side=48)
    write_photographs(folder / "pristine", ["x", "y", "z"], side=48)
    write_photographs(folder / "broken", REFERENCES, side=48)
    (folder / "broken" / "I02.png").write_bytes(b"no image")
    rows = [
        (f"{reference}_{kind + 1:02d}_{level + 1:02d}.png", f"{reference}.png", 1 + number + kind / 20 + level / 10)
        for number, reference in enumerate(REFERENCES)
        for kind, level in np.ndindex(25, 5)
    ]
    for name, kept in [("dmos.csv", rows), ("short.csv", rows[:-1])]:
        with (folder / "kadid" / name).open("w", newline="") as file:
            csv.writer(file).writerows([("dist_img", "ref_img", "dmos"), *kept])
    return folder


def labelled(world, **fields):
    labelling = Labelling(features="colour_texture", **fields)
    photographs, _ = find_photographs(world / "pristine", Recipe())
    return labelling.sources(photographs, labelling.check(), Recipe())


def with_references(world, **fields):
    return {
        "reference_scores": f"{world}/kadid/dmos.csv",
        "reference_images": f"{world}/kadid/images",
        "features": "colour_texture",
    } | fields


def test_top1_gives_each_photograph_the_scores_of_its_own_scene(world):
    scores = {"reference_scores": f"{world}/kadid/dmos.csv", "reference_images": f"{world}/kadid/images"}
    sources = labelled(world, transfer="top1", **scores)
    assert [(source.name, source.reference) for source in sources] == [
        ("x", "I01.png"),
        ("y", "I02.png"),
        ("z", "I03.png"),
    ]
    # of 1 to 4.6: the second reference, type 7, level 3
    assert sources[1].scores[6 * 5 + 2] == pytest.approx(9 * (1 + 6 / 20 + 2 / 10) / (2 + 24 / 20 + 4 / 10))
    assert min(sources[0].scores) == 0
    assert max(sources[2].scores) == pytest.approx(9)


def test_without_a_database_scores_are_kadids_means(world):
    (source, *_) = labelled(world, transfer="mean")
    part = (MEAN_SCORES - MEAN_SCORES.min()) / np.ptp(MEAN_SCORES)
    np.testing.assert_allclose(source.scores, 9 * part.ravel())
    assert source.reference == ""


def test_random_references_are_drawn_by_the_seed(world):
    labelling = Labelling(reference_scores=f"{world}/kadid/dmos.csv", transfer="random")
    photographs, _ = find_photographs(world / "pristine", Recipe())
    drawn = [
        [source.reference for source in labelling.sources(photographs, labelling.check(), Recipe(seed=seed))]
        for seed in (0, 0, 1, 2, 3)
    ]
    assert drawn[0] == drawn[1]
    assert len({tuple(names) for names in drawn}) > 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reference_images": ""}, "reference_images: needed with `transfer='shrunk'`, found nothing"),
        ({"reference_scores": ""}, "reference_scores: needed with `transfer='shrunk'`, found nothing"),
        ({"reference_scores": "", "reference_images": "", "transfer": "random"}, "reference_scores: needed with"),
        ({"transfer": "mean"}, "transfer=mean: takes no `reference_images`"),
        ({"transfer": "mean", "reference_images": "", "weights": "timm"}, "transfer=mean: takes no `weights`"),
        ({"transfer": "topk", "top_k": 4}, "top_k=4: expected at most the 3 references"),
        ({"reference_images": "{}/broken"}, r"broken.I02.png: not an image"),
        ({"features": "resnet101"}, "weights: features of resnet101 need"),
        (
            {"reference_scores": "{}/kadid/short.csv"},
            r"short.csv: expected 125 scores of each reference, 1 are missing: I03.png type 25 level 5",
        ),
        (
            {"reference_images": "{}/pristine"},
            r"reference_images=.*pristine: expected the 3 references .* 3 are missing: I01.png, I02.png, I03.png",
        ),
        ({"reference_scores": "{}/nothing.csv"}, "nothing.csv"),
        ({"source_features": "{}/no/x.npz"}, "source_features=.*expected a file in an existing folder"),
    ],
)
def test_what_cannot_be_is_said_before_any_long_work(world, fields, message):
    filled = {name: value.format(world) if isinstance(value, str) else value for name, value in fields.items()}
    with pytest.raises(InputError, match=message):
        Labelling(**with_references(world, **filled)).check()


def test_features_are_computed_once(world, tmp_path, monkeypatch):
    files = {name: f"{tmp_path}/{name}.npz" for name in ("reference_features", "source_features")}
    given = with_references(world, transfer="topk", top_k=2, **files)
    del given["features"]
    first = labelled(world, **given)
    monkeypatch.setattr(features, "semantic_features", None)
    assert labelled(world, **given) == first
    other = Labelling(**given, features="efficientnet_lite0")
    photographs, _ = find_photographs(world / "pristine", Recipe())
    with pytest.raises(
        InputError, match=r"reference_features.npz: .*a feature file of another backbone, colour_texture"
    ):
        other.sources(photographs, other.check(), Recipe())
