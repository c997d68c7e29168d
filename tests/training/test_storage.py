"""Checkpoints come back from wherever they were written, or are not begun there."""

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from absl import logging
from hypothesis import given, settings
from hypothesis import strategies as st

from glintiqa_jax.errors import InputError
from glintiqa_jax.scoring.storage import NOT_EVALUATED, array_handler, best_step, place, read_json, steps
from glintiqa_jax.scoring.storage import _LiteralPath as LiteralPath
from glintiqa_jax.training import storage

NAMES = ["a[x]b", "*", "a?", "a**b", "[!a]", "two words", "é", "%41", "-lead", "#", "a\nb", "{a,b}", "a:b", "'\"", "7"]
# What Orbax and TensorStore would take for something else.
IMPOSSIBLE = {"back\\slash": "a backslash", "bad\udcff": "not UTF-8", "bags:/x": "ends in 'gs:'"}
ARRAYS = {"a": jnp.arange(10.0), "b": [jnp.ones((3, 4), jnp.int32)]}


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_folder_keeps_checkpoints(tmp_path, name):
    folder = place(tmp_path / name, "workdir") / "checkpoints"
    storage.check_storage(folder)
    with storage.manager(folder) as manager:
        for step, figure in ((3, 0.5), (6, 0.5), (7, NOT_EVALUATED)):
            items = ocp.args.Composite(model=ocp.args.PyTreeSave(ARRAYS), description=ocp.args.JsonSave({"step": step}))
            manager.save(step, args=items, metrics={"figure": figure}, force=True)
        manager.wait_until_finished()
    assert (tmp_path / name / "checkpoints" / "7" / "model" / "manifest.ocdbt").is_file()
    assert steps(folder) == [6, 7]
    assert best_step(folder) == 6
    assert read_json(folder / "7", "description") == {"step": 7}
    assert storage.same_arrays(folder / "7", model=ARRAYS)
    assert not storage.same_arrays(folder / "7", model=ARRAYS | {"a": -ARRAYS["a"]})


@given(st.text(st.characters(blacklist_characters="\0/\\", blacklist_categories=["Cs"]), min_size=1, max_size=20))
@settings(max_examples=15)
def test_a_name_works_or_is_refused_before_anything_is_written(tmp_path_factory, name):
    parent = tmp_path_factory.mktemp("any")
    if name not in (".", "..") and len(name.encode()) < 200:
        storage.check_storage(place(parent / name, "workdir"))
        assert not list((parent / name).iterdir())


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_name_that_cannot_work_is_refused_and_said(tmp_path, name):
    with pytest.raises(InputError, match=f"checkpoint_dir.*{IMPOSSIBLE[name]}"):
        place(tmp_path / name / "below", "checkpoint_dir")
    assert not list(tmp_path.iterdir())


def test_an_object_store_that_cannot_be_reached_is_one_error(monkeypatch):
    def unreachable(self):
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr(LiteralPath.__base__, "exists", unreachable)
    with pytest.raises(InputError, match=r"checkpoint_dir=gs://b/x: cannot be reached \(Please install gcsfs\)"):
        place("gs://b/x", "checkpoint_dir")


def test_storage_that_gives_other_numbers_back_is_refused(tmp_path, monkeypatch):
    restore = ocp.Checkpointer.restore

    def wrong(self, *arguments, **options):
        return jax.tree.map(lambda leaf: leaf + 1, dict(restore(self, *arguments, **options)))

    monkeypatch.setattr(ocp.Checkpointer, "restore", wrong)
    with pytest.raises(InputError, match=r"cannot be read back \(other numbers came back\)"):
        storage.check_storage(place(tmp_path, "checkpoint_dir"))


def test_orbax_is_left_as_it_is():
    """Another user of Orbax in the same process has its own handlers, and what it logs."""
    handler = ocp.type_handlers.get_type_handler(jax.Array)
    before = logging.get_verbosity()
    registry = array_handler()._type_handler_registry
    assert registry.get(jax.Array) is not handler
    assert ocp.type_handlers.get_type_handler(jax.Array) is handler
    assert logging.get_verbosity() == before
    assert np.asarray(ARRAYS["a"]).dtype == np.float32
