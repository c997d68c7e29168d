"""Preparing: what is stored, what a prepared database says of itself, and what is refused."""

import dataclasses
import json
import logging
import os
import shutil

import numpy as np
import pytest
from conftest import write_images, write_scores
from PIL import Image
from tensorflow_datasets.core.utils import tqdm_utils

import glintiqa_jax.data
from glintiqa_jax.data.builder import RatedImages, prepare, records_folder
from glintiqa_jax.data.databases import read_database
from glintiqa_jax.data.images import decode_image
from glintiqa_jax.data.own import read_csv
from glintiqa_jax.data.records import RecordSource
from glintiqa_jax.data.workplace import workplace
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.card import describe, write_card


def write_koniq(folder, count=9, *, shift=0.0):
    """KonIQ-10k's layout, with its published sets."""
    names = write_images(folder / "1024x768", count, size=(60, 80))
    sets = ["training"] * (count - 3) + ["validation", "test", "test"]
    lines = [
        f"{name},{20.5 + shift + number},0.5,{part}"
        for number, (name, part) in enumerate(zip(names, sets, strict=True))
    ]
    (folder / "koniq10k_distributions_sets.csv").write_text("\n".join(["image_name,MOS,SD,set", *lines]) + "\n")
    return folder


@pytest.fixture
def koniq(tmp_path):
    return read_database("koniq10k", write_koniq(tmp_path / "koniq"))


def test_a_prepared_database_opens_by_its_name(koniq, tmp_path):
    prepare(koniq, tmp_path / "data")
    source = glintiqa_jax.open_dataset("koniq10k", data_dir=tmp_path / "data")
    assert len(source) == 9
    item = source[7]
    assert (item["name"], item["raw_score"], item["score_std"]) == ("image07.png", 27.5, 12.5)
    assert item["score"] == np.float32(0.275)
    assert (item["group"], item["split"], item["reference"]) == ("image07.png", "test", "")
    assert item["image"].shape == (60, 80, 3)
    assert item["image"].dtype == np.uint8


def test_what_is_not_prepared_says_how(koniq, tmp_path):
    prepare(koniq, tmp_path / "data")
    with pytest.raises(InputError, match=r"dataset=clive: .*found koniq10k; the command prepare_dataset prepares it"):
        glintiqa_jax.open_dataset("clive", data_dir=tmp_path / "data")


def test_another_preparation_of_a_name_is_refused_until_it_is_asked_for(koniq, tmp_path):
    folder = prepare(koniq, tmp_path / "data")
    assert prepare(koniq, tmp_path / "data") == folder
    changed = read_database("koniq10k", write_koniq(tmp_path / "koniq", shift=1.0))
    with pytest.raises(InputError, match=r"already prepared.*`overwrite` replaces it"):
        prepare(changed, tmp_path / "data")
    with pytest.raises(InputError, match="already prepared"):
        prepare(koniq, tmp_path / "data", max_side=64)
    assert RecordSource(folder)[0]["raw_score"] == 20.5
    assert RecordSource(prepare(changed, tmp_path / "data", overwrite=True))[0]["raw_score"] == 21.5


def test_an_interrupted_preparation_leaves_nothing_that_looks_complete(koniq, tmp_path):
    def breaks_off():
        yield from list(koniq.images())[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(dataclasses.replace(koniq, images=breaks_off), tmp_path / "data")
    with pytest.raises(InputError, match="expected a database prepared"):
        glintiqa_jax.open_dataset("koniq10k", data_dir=tmp_path / "data")
    with pytest.raises(InputError, match="expected a prepared dataset"):
        RecordSource(records_folder("koniq10k", tmp_path / "data"))
    assert len(RecordSource(prepare(koniq, tmp_path / "data"))) == 9


def test_files_are_stored_as_they_are_but_for_uncompressed_ones(tmp_path):
    import tensorflow_datasets as tfds

    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.png", "c.bmp", "d.webp", "e.ppm"):
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    rows = "".join(f"{path.name},{number}\n" for number, path in enumerate(sorted((tmp_path / "images").iterdir())))
    (tmp_path / "scores.csv").write_text("image,mos\n" + rows)
    folder = prepare(read_csv(tmp_path / "images", tmp_path / "scores.csv"), tmp_path / "data")
    builder = tfds.builder_from_directory(str(folder))
    records = builder.as_data_source("images", decoders={"image": tfds.decode.SkipDecoding()})
    for position, path in enumerate(sorted((tmp_path / "images").iterdir())):
        stored, file = records[position]["image"], path.read_bytes()
        if path.suffix in (".bmp", ".ppm"):
            assert stored.startswith(b"\x89PNG")
        else:
            assert stored == file
        np.testing.assert_array_equal(RecordSource(folder)[position]["image"], decode_image(file, path.name))


def test_large_photographs_are_shrunk_once_and_the_card_says_how(koniq, tmp_path):
    source = RecordSource(prepare(koniq, tmp_path / "data", max_side=40))
    assert source[0]["image"].shape == (30, 40, 3)
    assert (source.index.heights[0], source.index.widths[0]) == (30, 40)
    assert source.max_side == 40
    assert "the longer side shrunk to at most 40 (Pillow, bicubic, antialiased)" in "\n".join(describe(source))


def twins(tmp_path, scores=("1", "5")):
    """Six images, of which the second is the first again, byte for byte, and the third the first as a JPEG."""
    names = write_images(tmp_path / "images", 6, seed=3)
    rng = np.random.default_rng(0)
    for name in names:  # low frequencies, which noise has none of
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
        small.resize((48, 40), Image.Resampling.BICUBIC).save(tmp_path / "images" / name)
    first = tmp_path / "images" / names[0]
    (tmp_path / "images" / names[1]).write_bytes(first.read_bytes())
    Image.open(first).save(tmp_path / "images" / names[2], "JPEG", quality=90)
    values = [*scores, "2", "3", "4", "5"]
    rows = "".join(f"{name},{value}\n" for name, value in zip(names, values, strict=True))
    (tmp_path / "scores.csv").write_text("image,mos\n" + rows)
    return read_csv(tmp_path / "images", tmp_path / "scores.csv", score_range=(1, 5)), names


def test_identical_files_always_share_a_group_and_near_ones_on_request(tmp_path):
    collection, names = twins(tmp_path)
    as_is = RecordSource(prepare(collection, tmp_path / "data"))
    assert as_is.index.groups == [names[0], names[0], *names[2:]]
    assert as_is.card.near_duplicates.identical == [[names[0], names[1]]]
    assert as_is.card.near_duplicates.named == [[names[0], names[1]], [names[0], names[2]], [names[1], names[2]]]
    assert len(set(as_is.index.groups)) == 5
    merged = RecordSource(prepare(collection, tmp_path / "data", merge_near_duplicates=True))
    assert merged.index.groups == [names[0]] * 3 + names[3:]


def test_the_card_is_for_people(tmp_path):
    collection, names = twins(tmp_path)
    source = RecordSource(prepare(collection, tmp_path / "data"))
    said = "\n".join(describe(source))
    assert "6 images of 5 contents" in said
    assert "scores 1 to 5 of MOS 1 to 5, higher is better" in said
    assert "near-duplicate pairs across contents: 3" in said
    assert f"warning: {names[0]} and {names[1]} are the same file, scored 1 and 5" in said
    text = write_card(source).read_text()
    for name in ("scores.png", "images.png", "near_duplicates.png"):
        assert f"({name})" in text
        with Image.open(source.folder / name) as picture:
            assert min(picture.size) > 100
    card = json.loads((source.folder / "card.json").read_text())
    assert (card["images"], card["score_min"], card["score_max"], card["skipped"]) == (6, 1.0, 5.0, [])


def test_damaged_records_are_noticed_and_named(koniq, tmp_path):
    folder = prepare(koniq, tmp_path / "data")
    (records,) = folder.glob("*.array_record*")
    whole = records.read_bytes()
    first = RecordSource(folder)[0]["image"]
    place = whole.index(b"image00.png")  # inside the first record
    records.write_bytes(whole[:place] + b"X" + whole[place + 1 :])
    with pytest.raises(InputError, match=r"record 0, 'image00.png', is damaged .*; where it stays so, remove the"):
        RecordSource(folder)[0]
    records.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is damaged"):
        RecordSource(folder)[8]
    records.write_bytes(whole)
    np.testing.assert_array_equal(RecordSource(folder)[0]["image"], first)


def test_an_index_that_does_not_fit_is_named(koniq, tmp_path):
    folder = prepare(koniq, tmp_path / "data")
    index = folder / "index.csv"
    lines = index.read_text().splitlines(keepends=True)
    for changed in (lines[:-1], [*lines[:-1], lines[-1].replace("28.5", "82.5")]):
        assert changed != lines
        index.write_text("".join(changed))
        with pytest.raises(InputError, match=r"index.csv: has changed since it was prepared"):
            RecordSource(folder)
    for text, message in (("{", "found no JSON"), ("{}", "version 1.1.0 wrote"), ("null", "version 1.1.0 wrote")):
        (folder / "card.json").write_text(text)
        with pytest.raises(InputError, match=rf"card.json: expected what a preparation.*{message}"):
            RecordSource(folder)


def test_what_was_prepared_stays_until_the_new_is_complete(koniq, tmp_path):
    folder = prepare(koniq, tmp_path / "data")
    write_koniq(tmp_path / "koniq", shift=1.0)
    (tmp_path / "koniq" / "1024x768" / "image08.png").write_bytes(b"no image")
    changed = read_database("koniq10k", tmp_path / "koniq")
    with pytest.raises(InputError, match="not an image"):
        prepare(changed, tmp_path / "data", overwrite=True)
    assert RecordSource(folder)[0]["raw_score"] == 20.5
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_two_preparations_at_once_do_not_mind_each_other(koniq, tmp_path):
    inner = []

    def beside():
        for image in koniq.images():
            if not inner:
                inner.append(prepare(koniq, tmp_path / "data"))
            yield image

    outer = prepare(dataclasses.replace(koniq, images=beside), tmp_path / "data")
    assert inner == [outer]
    assert len(RecordSource(outer)) == 9
    assert [path.name for path in outer.parent.iterdir()] == [outer.name]


def test_names_that_mean_something_elsewhere_are_only_names(tmp_path):
    """To Matplotlib a $ begins mathematics; CSV has its commas and quotes."""
    names = ["a_$5_vs_$6^^.png", 'b, "quoted".png', "c\u00e9 \u4e2d.png"]
    for name, made in zip(names, write_images(tmp_path / "images", 3), strict=True):
        (tmp_path / "images" / made).rename(tmp_path / "images" / name)
    write_scores(tmp_path / "scores.csv", [{"image": name, "mos": i} for i, name in enumerate(names)])
    source = RecordSource(prepare(read_csv(tmp_path / "images", tmp_path / "scores.csv"), tmp_path / "data"))
    assert source.index.names == names
    write_card(source)


def test_positions_count_from_the_end_too(koniq, tmp_path):
    source = RecordSource(prepare(koniq, tmp_path / "data"))
    assert source[-1]["name"] == "image08.png"
    with pytest.raises(IndexError):
        source[9]


def test_files_that_moved_or_were_copied_without_their_times_are_the_same_files(tmp_path):
    folder, (copy, scores) = (
        prepare(twins(tmp_path)[0], tmp_path / "data"),
        (tmp_path / "copy", tmp_path / "scores.csv"),
    )
    shutil.copytree(tmp_path / "images", copy, copy_function=shutil.copyfile)
    assert prepare(read_csv(copy, scores, score_range=(1, 5)), tmp_path / "data") == folder
    for path in copy.iterdir():
        os.utime(path, (0, 0))
    assert prepare(read_csv(copy, scores, score_range=(1, 5)), tmp_path / "data") == folder
    next(copy.iterdir()).write_bytes(next(iter((tmp_path / "images").glob("image05.png"))).read_bytes())
    assert prepare(read_csv(copy, scores, score_range=(1, 5)), tmp_path / "data") != folder


def test_a_moved_database_is_the_same_database(tmp_path):
    folder = prepare(read_database("koniq10k", write_koniq(tmp_path / "koniq")), tmp_path / "data")
    (tmp_path / "koniq").rename(tmp_path / "elsewhere")
    assert prepare(read_database("koniq10k", tmp_path / "elsewhere"), tmp_path / "data") == folder


def test_records_of_an_earlier_version_are_not_passed_over_without_a_word(tmp_path, koniq, capsys):
    """They told images by place and time: a database's are used as they are, one's own are prepared anew."""
    collection, _ = twins(tmp_path)
    for one in (koniq, collection):
        path = prepare(one, tmp_path / "data") / "card.json"
        card = json.loads(path.read_text())
        former = {"told_by": None, "direction": "", "scale": card["scale"] | {"raw_target": False}}
        former["fingerprint"] = card.pop("identity")[::-1]
        path.write_text(json.dumps(card | former))
    assert len(glintiqa_jax.open_dataset("koniq10k", data_dir=tmp_path / "data")) == 9
    with pytest.raises(
        InputError, match=r"or by an earlier version, whose records can be used as they are; `overwrite`"
    ):
        prepare(koniq, tmp_path / "data")
    capsys.readouterr()
    path.parents[1].rename(path.parents[2] / "csv-former")
    prepare(collection, tmp_path / "data")
    assert "csv-former were prepared by an earlier version" in capsys.readouterr().err


def test_what_a_killed_preparation_left_is_removed_by_the_next(koniq, tmp_path):
    beside = tmp_path / "data" / "rated_images" / "koniq10k"
    with workplace(beside) as at_work:
        (beside / ".partial-killed").mkdir()
        (beside / ".partial-killed" / ".at-work").touch()
        prepare(koniq, tmp_path / "data")
        assert sorted(path.name for path in beside.iterdir()) == [at_work.name, str(RatedImages.VERSION)]
    assert not at_work.exists()


def test_preparing_changes_nothing_of_the_process(koniq, tmp_path):
    tqdm_utils.enable_progress_bar()
    level = logging.getLogger("absl").level
    prepare(koniq, tmp_path / "data")
    assert tqdm_utils._active
    assert logging.getLogger("absl").level == level


def test_images_beyond_the_limit_of_pixels_are_bad_images(koniq, tmp_path):
    with pytest.raises(InputError, match=r"image00\.png: expected at most 4,000 pixels .*`on_bad_image='skip'`"):
        prepare(koniq, tmp_path / "data", max_pixels=4000)
    assert len(RecordSource(prepare(koniq, tmp_path / "data", max_pixels=0))) == 9
