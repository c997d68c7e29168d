"""Every setting does what it declares: nothing, a change in the last digits, other figures, or another shape.

A setting that nothing reads fails here, and so does one whose effect is not what it says.
"""

import functools
import hashlib
import re
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest
from small_runs import alike, small_run

from glintiqa_jax import settings
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.training import run
from glintiqa_jax.training.experiment import Execution, Experiment
from glintiqa_jax.training.metrics_log import read_metrics
from glintiqa_jax.training.step import Trainer

pytest_plugins = ["small_runs"]
# Another value of each setting than the short run's, and what has to be there beside it.
OTHERS = {
    "crop_size": 16,
    "patch_size": (32, {"embedded_stages": (1, 2, 3)}),
    "width": 32,
    "vit_heads": 4,
    "vit_mlp_width": 48,
    "vit_stem": 1,
    "tapped_blocks": (0, 1),
    "resnet_blocks": (1, 1, 2),
    "resnet_bottleneck": True,
    "resnet_width": 16,
    "embedded_stages": (1, 2),
    "use_cwsa": False,
    "use_siem": False,
    "attention_layout": "transposed",
    "identity_start": True,
    "attention_dropout": 0.2,
    "head_dropout": 0.2,
    "init": "a file of weights",
    "frozen": (r"^clfe\.conv1\.",),
    "seed": 1,
    "max_short_side": 34,
    "batch_size": 4,
    "crops_per_image": 2,
    "vertical_flips": False,
    "transforms": ("quarter_turns",),
    "ranked_levels": 1,
    "ranked_every": (3, {"ranked_levels": 1}),
    "ranking_weight": (1.0, {"ranked_levels": 1}),
    "accumulate": 2,
    "loss": "smooth_l1",
    "target": "raw",
    "compute_dtype": "bfloat16",
    "optimizer": "adam_l2",
    "learning_rate": 1e-2,
    "rates": ("^clfe=0.1",),
    "weight_decay": 1.0,
    "clip_norm": 0.01,
    "ema_decay": 0.5,
    "steps": 4,
    "schedule": "released_cosine",
    "warmup_steps": 1,
    "cosine_period": (7, {"schedule": "released_cosine"}),
    "eval_every": 1,
    "selection": "test_best",
    "selection_metric": "rmse",
    "eval_grid": 3,
    "eval_random_crops": 3,
    "eval_sizes": (33,),
    "mesh_data": (4, {"mesh_fsdp": 2}),
    "mesh_fsdp": (2, {"mesh_data": 4}),
    "step_timeout": 60.0,
    "num_workers": 1,
    "cache_megabytes": 0,
    "on_bad_image": "skip",
    "save_minutes": 1e-9,
    "save_every": 1,
    "checkpoint_dir": "elsewhere",
    "eval_batch_size": 16,
    "remat": True,
    "profile_steps": 1,
    "max_steps": 2,
    "allow_config_change": True,
}
# Their effect is not in a run's figures: they say where it ends, or what is forgiven.
OF_THE_CALL = {"max_steps", "allow_config_change", "on_bad_image"}


@functools.cache
def short():
    """Three steps, evaluated after two and three."""
    return small_run().change(steps=3, eval_every=2, warmup_steps=2, batch_size=8)


class Traced(Trainer):
    """Takes no step: each loss stands for what a step would compute, of which arrays."""

    def __init__(self, experiment, mesh, *, remat=False):
        super().__init__(experiment, mesh, remat=remat)
        self._taken, self.step, self._traced = self.step, self._hashed, None

    def _hashed(self, state, batch, key):
        if self._traced is None:
            jaxpr = self._taken.trace(state, batch, key).jaxpr
            self._traced = re.sub(r"0x[0-9a-f]+", "", f"{jaxpr} {jaxpr.consts}")
        sha = hashlib.sha256(self._traced.encode())
        for leaf in jax.tree.leaves((state, batch, jax.random.key_data(key))):
            sha.update(np.asarray(leaf).tobytes())
        return state._replace(step=state.step + 1), int(sha.hexdigest()[:6], 16) / 2**24


@functools.cache
def traced(experiment, mesh, remat):
    return Traced(experiment, mesh, remat=remat)


def changes_of(name, tmp_path):
    value, beside = OTHERS[name], {}
    if isinstance(value, tuple) and isinstance(value[-1], dict):
        value, beside = value
    if name == "checkpoint_dir":
        value = str(tmp_path / value)
    if name == "init":
        value = (str(weights(tmp_path)),)
    return beside, beside | {name: value}


def weights(folder):
    """Official weights of another start."""
    import safetensors.numpy

    from glintiqa_jax.models.weights import export_glintiqa

    path = folder / "weights.safetensors"
    safetensors.numpy.save_file(export_glintiqa(new_model(short().experiment.model, seed=5)), path)
    return path


def effects():
    found = {}
    for config in (Experiment(), Execution()):
        for name, field, _ in settings.settings(config):
            found[name.rpartition(".")[2]] = settings.effect_of(field)
    return found


def test_every_setting_is_here():
    assert set(OTHERS) == set(effects())


def test_another_shape_cannot_be_restored_into():
    """What a checkpoint holds is another tree, or of other shapes."""
    base = small_run()

    def shape(experiment):
        state = Trainer(experiment, jax.make_mesh((1, 1), ("data", "fsdp"), devices=jax.devices()[:1])).abstract_state
        return jax.tree.structure(state), [leaf.shape for leaf in jax.tree.leaves(state)]

    for name, effect in effects().items():
        if effect == "shape" and name not in ("crop_size",):
            beside, values = changes_of(name, None)
            assert shape(base.change(**values).experiment) != shape(base.change(**beside).experiment), name


def figures(small, folder, **values):
    """All that a run's figures are."""
    results = small.train(folder, **values)
    history = read_metrics(folder, speed=False)
    predictions = (folder / "predictions_test.csv").read_text()
    return {name: value for name, value in results.items() if name != "commit"}, history, predictions


@functools.cache
def figures_beside(trainer, spread=False, **beside):
    """The figures without another value, once for a trainer and for what is there beside it."""
    with tempfile.TemporaryDirectory() as folder:
        return figures(short(), Path(folder), all_devices=spread, **beside)


def settings_of(*which):
    return [name for name, effect in effects().items() if effect in which and name not in OF_THE_CALL]


pytestmark = [pytest.mark.filterwarnings("ignore:.*is undefined"), pytest.mark.usefixtures("one_device")]


@pytest.mark.slow
@pytest.mark.parametrize("name", settings_of("results", "shape"))
def test_a_setting_that_changes_figures_does(tmp_path, monkeypatch, name):
    """By what a step computes, on which batches, from where, and by what is evaluated when."""
    monkeypatch.setattr(run, "Trainer", lambda experiment, mesh, remat: traced(alike(experiment), mesh, remat))
    beside, values = changes_of(name, tmp_path)
    assert figures(short(), tmp_path, **values) != figures_beside(Traced, **beside)


@pytest.mark.slow
@pytest.mark.parametrize("name", settings_of("rounding"))
def test_a_setting_that_changes_figures_by_rounding_does_no_more(tmp_path, name):
    spread = name.startswith("mesh_")
    _, values = changes_of(name, tmp_path)
    expected = figures_beside(Trainer, spread)[0]["test"]["rmse"]
    found = figures(short(), tmp_path, all_devices=spread, **values)[0]["test"]["rmse"]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.slow
def test_settings_that_change_no_figure_do_not(tmp_path):
    values = {name: value for each in settings_of("nothing") for name, value in changes_of(each, tmp_path)[1].items()}
    assert figures(short(), tmp_path / "run", **values) == figures_beside(Trainer)
