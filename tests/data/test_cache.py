"""Records are copied to this machine once, whole, and read there. A folder stands in for the object store."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.cache import cache_records
from glintiqa_jax.data.own import read_csv
from glintiqa_jax.datasets.config import DataConfig
from glintiqa_jax.datasets.opening import open_data, open_dataset
from glintiqa_jax.errors import InputError


@pytest.fixture
def prepared(rated_folder, tmp_path):
    """A database, as far as its name goes, and where it is prepared."""
    collection = dataclasses.replace(read_csv(*rated_folder(6)), name="koniq10k")
    prepare(collection, tmp_path / "store")
    return tmp_path / "store"


def config(prepared, tmp_path):
    return DataConfig(dataset="koniq10k", data_dir=str(prepared), data_cache_dir=str(tmp_path / "disk"))


def test_records_are_read_from_the_copy(prepared, tmp_path):
    said = []
    source = open_data(config(prepared, tmp_path), say=said.append)
    assert source.folder.is_relative_to(tmp_path / "disk")
    assert said == [f"copying 6 images of koniq10k from {prepared} to {tmp_path / 'disk'}"]
    original = open_dataset("koniq10k", data_dir=prepared)
    for position in range(6):
        np.testing.assert_array_equal(source[position]["image"], original[position]["image"])
    assert source.index.names == original.index.names


def test_what_is_copied_is_not_copied_again_until_it_changes(prepared, rated_folder, tmp_path):
    said = []
    for _ in range(2):
        cache_records("koniq10k", str(prepared), str(tmp_path / "disk"), said.append)
    assert len(said) == 1
    (tmp_path / "more").mkdir()
    other = dataclasses.replace(read_csv(*rated_folder(9)), name="koniq10k")
    prepare(other, prepared, overwrite=True)
    cache_records("koniq10k", str(prepared), str(tmp_path / "disk"), said.append)
    assert len(said) == 2
    assert len(open_dataset("koniq10k", data_dir=tmp_path / "disk")) == 9


def test_a_copy_that_breaks_off_leaves_nothing(prepared, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(
        InputError, match=r"data_cache_dir=.*disk: records of koniq10k could not be copied from .*No space left"
    ):
        cache_records("koniq10k", str(prepared), str(tmp_path / "disk"), print)
    assert [path.name for path in (tmp_path / "disk").rglob("*") if path.is_file()] == [".lock"]


def test_of_several_processes_one_copies(prepared, tmp_path):
    said = []
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(cache_records, "koniq10k", str(prepared), str(tmp_path / "disk"), said.append)
    assert len(said) == 1
    assert len(open_dataset("koniq10k", data_dir=tmp_path / "disk")) == 6


def test_what_a_killed_copy_left_goes(prepared, tmp_path):
    cache_records("koniq10k", str(prepared), str(tmp_path / "disk"), print)
    (card,) = (tmp_path / "disk").rglob("card.json")
    left = card.parents[1] / ".partial-killed"
    left.mkdir()
    (left / ".at-work").touch()
    card.unlink()
    cache_records("koniq10k", str(prepared), str(tmp_path / "disk"), print)
    assert card.is_file()
    assert not left.exists()


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"data_dir=.*nowhere: expected a prepared koniq10k, found none"):
        cache_records("koniq10k", str(tmp_path / "nowhere"), str(tmp_path / "disk"), print)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"dataset": "koniq10k", "data_dir": "gs://bucket"}, "data_cache_dir: needed with `data_dir='gs://bucket'"),
        ({"data_dir": "gs://bucket", "data_cache_dir": "disk"}, "demo is prepared on this machine"),
        ({"dataset": "koniq10k", "data_cache_dir": "gs://bucket"}, "expected a path of this machine, found an address"),
    ],
    ids=str,
)
def test_flags_that_make_no_sense_are_refused(flags, message):
    with pytest.raises(InputError, match=message):
        DataConfig(**flags)
