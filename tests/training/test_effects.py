"""Every setting does what it declares: nothing, a change in the last digits, other figures, or another shape.

A setting that nothing reads fails here, and so does one whose effect is not what it says.
"""

import json

import jax
import numpy as np
import pytest
from small_runs import small_run

from glintiqa_jax import settings
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.training.experiment import Execution, Experiment
from glintiqa_jax.training.step import Trainer

pytest_plugins = ["small_runs"]
# Another value of each setting than the short run's, and what has to be there beside it.
OTHERS = {
    "crop_size": 16,
    "patch_size": (32, {"embedded_stages": (1, 2, 3)}),
    "width": 32,
    "vit_heads": 4,
    "vit_mlp_width": 48,
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
    "backbone_weights": "a file of weights",
    "frozen": (r"^clfe\.conv1\.",),
    "seed": 1,
    "max_short_side": 34,
    "batch_size": 4,
    "crops_per_image": 2,
    "vertical_flips": False,
    "transforms": ("quarter_turns",),
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
    "mesh_data": (4, {"mesh_fsdp": 2}),
    "mesh_fsdp": (2, {"mesh_data": 4}),
    "num_workers": 1,
    "cache_megabytes": 0,
    "on_bad_image": "skip",
    "save_minutes": 1e-9,
    "save_every": 1,
    "checkpoint_dir": "elsewhere",
    "eval_batch_size": 16,
    "remat": True,
    "max_steps": 2,
    "allow_config_change": True,
}
# Their effect is not in a run's figures: they say where it ends, or what is forgiven.
OF_THE_CALL = {"max_steps", "allow_config_change", "on_bad_image"}


@pytest.fixture(scope="module")
def short():
    """Three steps of one stage and one block, which compile in a third of the time; evaluated after two and three."""
    return small_run().change(tapped_blocks=(0,), steps=3, eval_every=2, warmup_steps=2, batch_size=8)


@pytest.fixture(scope="module")
def before(short, tmp_path_factory):
    """The figures without another value, once for what is there beside it."""
    known = {}

    def figures_beside(beside, all_devices):
        key = (repr(beside), all_devices)
        if key not in known:
            known[key] = figures(short, tmp_path_factory.mktemp("before"), all_devices=all_devices, **beside)
        return known[key]

    return figures_beside


def changes_of(name, tmp_path):
    value, beside = OTHERS[name], {}
    if isinstance(value, tuple) and isinstance(value[-1], dict):
        value, beside = value
    if name == "checkpoint_dir":
        value = str(tmp_path / value)
    if name == "backbone_weights":
        value = (str(weights(tmp_path)),)
    return beside, beside | {name: value}


def weights(folder):
    """Official weights of another start."""
    import safetensors.numpy

    from glintiqa_jax.models.weights import export_glintiqa

    path = folder / "weights.safetensors"
    network = small_run().change(tapped_blocks=(0,)).experiment.model
    safetensors.numpy.save_file(export_glintiqa(new_model(network, seed=5)), path)
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
    history = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    predictions = (folder / "predictions_test.csv").read_text()
    return {name: value for name, value in results.items() if name != "commit"}, history, predictions


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, effect in effects().items() if name not in OF_THE_CALL])
@pytest.mark.filterwarnings("ignore:.*is undefined")
@pytest.mark.usefixtures("one_device")
def test_a_setting_does_what_it_declares(short, before, tmp_path, name):
    effect = effects()[name]
    beside, values = changes_of(name, tmp_path)
    spread = name.startswith("mesh_")
    first = before({} if spread else beside, spread)
    second = figures(short, tmp_path / "second", all_devices=spread, **values)
    if effect == "nothing":
        assert first == second
    elif effect == "rounding":
        np.testing.assert_allclose(first[0]["test"]["rmse"], second[0]["test"]["rmse"], rtol=1e-3)
    else:
        assert first != second
