"""Checkpoints in an object store, which knows no rename and no folders: what is complete, and what others write."""

import logging
import os

import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest
from object_store import object_store

from glintiqa_jax.errors import InputError
from glintiqa_jax.scoring.storage import NOT_EVALUATED, best_step, place, read_json, steps
from glintiqa_jax.training import mirror, storage
from glintiqa_jax.training.checkpoints import _set_damaged_aside

pytest.importorskip("gcsfs")
pytestmark = pytest.mark.filterwarnings("ignore")  # of gcsfs and Google's libraries
ARRAYS = {"a": jnp.arange(10.0), "b": [jnp.ones((3, 4), jnp.int32)]}
MARKER = "commit_success.txt"


@pytest.fixture(scope="module")
def store():
    """The one store of this process, as clients keep its address."""
    before = dict(os.environ)
    logging.getLogger("gcsfs").setLevel(logging.ERROR)
    with object_store() as store:
        os.environ.update(store.environment)
        yield store
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def folder(store, request):
    return place(f"gs://bucket/{request.node.name}/checkpoints", "checkpoint_dir")


def save(folder, *numbers):
    with storage.manager(folder, timeout=60) as manager:
        for step in numbers:
            items = ocp.args.Composite(model=ocp.args.PyTreeSave(ARRAYS), description=ocp.args.JsonSave({"step": step}))
            figure = {6: 0.5}.get(step, NOT_EVALUATED)
            manager.save(step, args=items, metrics={"figure": figure}, force=True)
        manager.wait_until_finished()


def test_a_checkpoint_comes_back(folder):
    storage.check_storage(folder)
    save(folder, 3, 6, 7)
    assert steps(folder) == [6, 7]
    assert best_step(folder) == 6
    assert read_json(folder / "7", "description") == {"step": 7}
    assert storage.same_arrays(folder / "7", model=ARRAYS)


def test_a_save_that_was_killed_is_no_checkpoint_and_the_run_goes_on(store, folder):
    save(folder, 3, 6)
    name = str(folder).removeprefix("gs://")
    for key in [key for key in store.objects if key.startswith(f"{name}/6/") and key.count("/") == name.count("/") + 2]:
        if key.endswith(MARKER):  # Orbax writes it last
            del store.objects[key]
    assert steps(folder) == [3]
    assert _set_damaged_aside(folder) == []
    with storage.manager(folder) as manager:
        assert manager.latest_step() == 3
    save(folder, 6)
    assert steps(folder) == [3, 6]
    assert storage.same_arrays(folder / "6", model=ARRAYS)


def test_what_another_process_writes_is_seen(store, folder):
    assert not (folder / "metrics").exists()
    (folder / "mine").write_text("mine")
    assert [path.name for path in folder.iterdir()] == ["mine"]
    store.put(f"{str(folder).removeprefix('gs://')}/metrics", b"another's", None)
    assert (folder / "metrics").exists()
    assert {path.name for path in folder.iterdir()} == {"mine", "metrics"}


def test_what_a_run_says_comes_back_to_a_new_machine(folder, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for name, text in (("config.json", "{}"), ("metrics.jsonl", "{}\n"), ("model/card.json", "1"), (".lock", "x")):
        (old / name).parent.mkdir(parents=True, exist_ok=True)
        (old / name).write_text(text)
    mirror.keep(old, folder)
    assert mirror.bring_back(new, folder)
    assert {str(path.relative_to(new)) for path in new.rglob("*") if path.is_file()} == {
        "config.json",
        "metrics.jsonl",
        "model/card.json",
    }
    assert not mirror.bring_back(new, folder)  # it has a run


def test_a_workdir_in_an_object_store_is_refused_and_said():
    from glintiqa_jax.training.checking import check

    with pytest.raises(InputError, match="workdir=gs://bucket/run: expected a path of this machine, found an address"):
        check("gs://bucket/run", None, None, None)
