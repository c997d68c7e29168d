"""From the data flags to sources and splits: published, drawn, of a file, of several databases."""

import json
import shutil

import numpy as np
import pytest
from conftest import write_images
from PIL import Image

from glintiqa_jax import settings
from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.databases import read_database
from glintiqa_jax.data.splits import save_split
from glintiqa_jax.datasets.config import DataConfig
from glintiqa_jax.datasets.opening import open_data, split_data
from glintiqa_jax.errors import InputError


def write_biq(folder, *, twin=False):
    """BIQ2021's layout: seven to train on, three to test; with ``twin``, one shows what is also tested."""
    names = write_images(folder / "Images", 10, size=(40, 40), seed=4)
    rng = np.random.default_rng(1)
    for name in names:  # something to see, by which near-duplicates are told from others
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        small.resize((40, 40), Image.Resampling.BICUBIC).save(folder / "Images" / name)
    if twin:
        Image.open(folder / "Images" / names[8]).convert("L").save(folder / "Images" / names[2])
    for file, part in (("Train", names[:7]), ("Test", names[7:])):
        rows = "".join(f"{name},0.{name[5:7]},,\n" for name in part)
        (folder / f"{file} (Images and MOS).csv").write_text("Images,MOS,,\n" + rows)
    return folder


@pytest.fixture
def biq(tmp_path):
    prepare(read_database("biq2021", write_biq(tmp_path / "biq", twin=True)), tmp_path / "data")
    return {"dataset": "biq2021", "data_dir": str(tmp_path / "data")}


def opened(options, *, on_bad_image="fail", **more):
    config = settings.replace(DataConfig(), **options | more)
    said = []
    how = {"on_bad_image": on_bad_image, "say": said.append}
    source = open_data(config, **how)
    return source, split_data(config.split, source, smallest=32, **how), said


def test_a_published_split_keeps_its_test_and_leaves_out_what_would_leak(biq):
    source, split, said = opened(biq, validation_fraction=0.2)
    assert split.test.tolist() == [7, 8, 9]
    assert 2 not in split.train
    assert 2 not in split.validation
    assert len(split.train) + len(split.validation) == 6
    assert len(split.validation) == 1
    assert "1 images of biq2021's published split show what is tested" in said[-1]
    assert source.index.groups[2] == source.index.groups[8]


def test_all_may_train_but_what_validates(biq):
    source, split, _ = opened(biq, split_by="all", validation_fraction=0.2)
    assert len(split.test) == 0
    assert len(split.validation) == 2  # of the nine contents
    assert sorted([*split.train, *split.validation]) == list(range(10))
    sides = [{source.index.groups[i] for i in part} for part in (split.train, split.validation)]
    assert not sides[0] & sides[1]
    _, split, _ = opened(biq, split_by="all", validation_fraction=0.0)
    assert len(split.train) == 10


def test_a_drawn_split_is_asked_for(biq):
    source, split, _ = opened(biq, split_by="drawn", validation_fraction=0.2, test_fraction=0.3, split_seed=3)
    sides = [{source.index.groups[i] for i in part} for part in (split.train, split.validation, split.test)]
    assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(10))
    assert sum(map(len, sides)) == 9


def test_a_released_round_is_drawn_by_its_seed(biq):
    _, first, _ = opened(biq, split_round=1, validation_fraction=0.0)
    _, same, _ = opened(biq, split_by="drawn", split_seed=12345, validation_fraction=0.0)
    _, second, _ = opened(biq, split_round=2, validation_fraction=0.0)
    np.testing.assert_array_equal(first.test, same.test)
    assert len(first.validation) == 0
    assert first.test.tolist() != second.test.tolist()


@pytest.mark.parametrize("split_by", ["drawn", "all"])
def test_a_split_of_another_run_is_used_again(biq, tmp_path, split_by):
    source, split, _ = opened(biq, split_by=split_by, split_seed=7)
    save_split(tmp_path / "split.json", split, source.index.names, "biq2021")
    _, again, _ = opened(biq, split_by=str(tmp_path / "split.json"))
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(split, part), getattr(again, part))


def test_several_databases_are_split_each_by_itself(biq, rated_folder):
    images, scores = rated_folder(20)
    own = {"images": str(images), "scores": str(scores), "score_range": (0.0, 100.0), "split_column": "split"}
    source, split, _ = opened(biq, dataset="biq2021:2,csv:1", **own, group_column="scene")
    assert source.weights == [2.0, 1.0]
    for part in (split.train, split.validation, split.test):
        assert {source.index.names[i].split("/")[0] for i in part} == {"biq2021", "csv"}
    assert {7, 8, 9} <= set(split.test)


def test_databases_of_the_same_photographs_do_not_leak_into_each_other(biq, tmp_path):
    """Two databases made of the same references: what one tests, the other must not train on."""
    other = tmp_path / "koniq"
    shutil.copytree(tmp_path / "biq" / "Images", other / "512x384")
    rows = "".join(f"image{i:02d}.png,{i},0.5,{'test' if i < 3 else 'training'}\n" for i in range(10))
    (other / "koniq10k_distributions_sets.csv").write_text("image_name,MOS,SD,set\n" + rows)
    prepare(read_database("koniq10k", other), tmp_path / "data")
    source, split, said = opened(biq, dataset="biq2021,koniq10k", validation_fraction=0.0)
    tested = {source.index.groups[i] for i in split.test}
    assert not tested & {source.index.groups[i] for i in split.train}
    assert {source.index.names[i] for i in split.test} >= {"biq2021/image08.png", "koniq10k/image01.png"}
    assert source.shared >= 10
    assert "show what is tested or validated in another database" in said[-1]


def test_a_database_without_anything_to_train_on_is_named(biq, rated_folder, tmp_path):
    _, split, _ = opened(biq, split_by="drawn")
    images, scores = rated_folder(20)
    own = {"images": str(images), "scores": str(scores)}
    both, _, _ = opened(biq, dataset="biq2021,csv", **own)
    save_split(tmp_path / "split.json", split, both.index.names, both.name)
    with pytest.raises(InputError, match="dataset: expected images of csv to train on, found none in the split"):
        opened(biq, dataset="biq2021,csv", **own, split_by=str(tmp_path / "split.json"))


def test_images_smaller_than_the_crop_stop_the_run_or_are_left_out(biq, rated_folder):
    images, scores = rated_folder(20)
    Image.new("RGB", (31, 50)).save(images / "image00.png")
    own = {"dataset": "csv", "images": str(images), "scores": str(scores), "data_dir": biq["data_dir"]}
    with pytest.raises(InputError, match=r"found 32 pixels and image00.png of 31x50; `on_bad_image='skip'` leaves"):
        opened(own)
    _, split, said = opened(own, on_bad_image="skip")
    assert "1 images are smaller than the crop of 32 pixels and left out: image00.png" in said[-1]
    assert 0 not in np.concatenate([split.train, split.validation, split.test])


def test_missing_images_are_left_out_on_request_and_said(biq, rated_folder):
    images, scores = rated_folder(20)
    (images / "image03.png").unlink()
    own = {"dataset": "csv", "images": str(images), "scores": str(scores), "data_dir": biq["data_dir"]}
    with pytest.raises(InputError, match=r"1 of 20 scored images are not in .*image03.png"):
        opened(own)
    source, _, said = opened(own, on_bad_image="skip")
    assert len(source) == 19
    assert any("image03.png: scored, but not there" in line for line in said)
    assert json.loads((source.folder / "card.json").read_text())["skipped"] == ["image03.png: scored, but not there"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "clive"}, "dataset=clive: expected a database prepared in"),
        (
            {"split_by": "nowhere.json"},
            "split_by: expected auto, published, drawn, all or a file of a split",
        ),
        ({"lower_is_better": True}, "lower_is_better: needs `dataset='csv'`, found `dataset='biq2021'`"),
        ({"max_side": 16}, "max_side=16: biq2021 was prepared with 0"),
        ({"merge_near_duplicates": False}, "merge_near_duplicates=False: biq2021 was prepared with True"),
        ({"dataset": "kadid"}, "dataset: expected one of demo, demo_photographs, csv, live,.* found 'kadid'"),
        ({"dataset": "biq2021:0"}, "dataset: expected a weight .* after biq2021:, found '0'"),
        ({"dataset": "biq2021,biq2021"}, "dataset: expected each database once, found biq2021 twice"),
        ({"split_round": 1, "split_by": "drawn"}, "split_round: draws the split; leave out `split_by='drawn'`"),
    ],
)
def test_mistakes_are_named(biq, options, message):
    with pytest.raises(InputError, match=message):
        opened(biq, **options)


def test_a_published_split_that_is_not_there_is_an_error(biq, rated_folder):
    images, scores = rated_folder(20)
    own = {"dataset": "csv", "images": str(images), "scores": str(scores), "data_dir": biq["data_dir"]}
    with pytest.raises(InputError, match="split_by=published: csv comes without a split unless"):
        opened(own, split_by="published")
