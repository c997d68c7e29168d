"""An address never becomes a folder called ``gs:``; what names a place on this machine is left as it is."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from glintiqa_jax import settings
from glintiqa_jax.data.paths import check_path, is_remote, local_path
from glintiqa_jax.datasets.config import DataConfig
from glintiqa_jax.errors import InputError
from glintiqa_jax.scoring.files import load_model
from glintiqa_jax.scoring.storage import place
from glintiqa_jax.training.experiment import Execution, Saving
from glintiqa_jax.training.training import train


@pytest.mark.parametrize("address", ["gs://b/x", "s3://b", "gcs://b/x", "hdfs://h/x", "gs:/b/x", "GS://b", "az://b/x"])
def test_an_address_is_no_place_on_this_machine(address):
    with pytest.raises(InputError, match=r"images=.*: expected a path of this machine, found"):
        check_path("images", address)


def test_where_object_stores_are_meant_others_are_refused():
    check_path("checkpoint_dir", "gs://bucket/run", stores=True)
    assert is_remote("s3://bucket/run")
    for address in ("gcs://bucket/run", "gs:/bucket/run", "hdfs://host/run"):
        with pytest.raises(InputError, match="expected a path or an address of gs:// or s3://"):
            check_path("checkpoint_dir", address, stores=True)


@pytest.mark.parametrize("address", ["file:///data/x", "file:/data/x", "file://localhost/data/x"])
def test_a_file_address_says_which_path_to_write(address):
    with pytest.raises(InputError, match=r"found an address; write /data/x$"):
        check_path("workdir", address, stores=True)


def test_no_path_is_not_the_folder_one_is_in():
    for find in (lambda: local_path("workdir", ""), lambda: place("", "workdir")):
        with pytest.raises(InputError, match=r"^workdir: expected a path, found nothing$"):
            find()


@given(st.text(st.characters(blacklist_characters="\0:"), min_size=1))
@hypothesis_settings(max_examples=50)
def test_what_has_no_colon_is_a_path(text):
    check_path("images", text)
    check_path("images", f"./{text}:/x")


def test_every_path_of_a_run_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for flag in ("images", "scores", "data_cache_dir", "data_dir", "split_by"):
        with pytest.raises(InputError, match=f"{flag}=file:///x: expected a path, found an address; write /x"):
            settings.replace(DataConfig(), dataset="csv", **{"images": "a", "scores": "b"} | {flag: "file:///x"})
    with pytest.raises(InputError, match="workdir=gs://bucket/run: expected a path of this machine"):
        train(None, None, workdir="gs://bucket/run")
    with pytest.raises(InputError, match="checkpoint_dir=hdfs://host/run"):
        train(None, None, workdir="run", execution=Execution(saving=Saving(checkpoint_dir="hdfs://host/run")))
    with pytest.raises(InputError, match="gcs://bucket/run"):
        load_model("gcs://bucket/run")
    assert not list(tmp_path.iterdir())


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(local_path("workdir", "~/runs")) == "/home/someone/runs"
