"""Any number of devices trains the same network, and a checkpoint of one mesh goes on on another."""

import jax
import numpy as np
import pytest
from flax import nnx

from glintiqa_jax import settings
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.scoring.card import ModelCard
from glintiqa_jax.scoring.files import load_model
from glintiqa_jax.sharding import describe_sharding, make_mesh
from glintiqa_jax.training.checkpoints import CheckpointStore
from glintiqa_jax.training.description import Description
from glintiqa_jax.training.experiment import Execution, Experiment
from glintiqa_jax.training.step import Trainer

pytestmark = pytest.mark.compiled_for_users
STEPS = 20
RNG = np.random.default_rng(0)
BATCHES = [
    {"image": RNG.integers(0, 256, (16, 32, 32, 3), np.uint8), "target": RNG.random(16, np.float32)}
    for _ in range(STEPS + 3)
]
# The released optimiser. With a rate a hundred times as high, Adam turns the rounding of gradients near zero into whole
# steps, and runs part in the third digit after twenty.
CONFIG = settings.replace(
    Experiment(model=VARIANTS["glintiqa_tiny"]),
    vit_mlp_width=1024,  # large enough to be sharded
    batch_size=16,
    optimizer="adam_l2",
    learning_rate=1e-5,
    weight_decay=1e-5,
    schedule="released_cosine",
    ema_decay=0.9,
)
DESCRIPTION = Description(CONFIG, Execution(), ModelCard(CONFIG.model, ScoreScale(0.0, 1.0)))


def mesh_of(data, fsdp):
    return make_mesh(data, fsdp, devices=jax.devices()[: data * fsdp])


def go_on(trainer, state, batches):
    losses = []
    for batch in batches:
        state, loss = trainer.step(state, batch, jax.random.key(1))
        losses.append(float(loss))
    return losses, state


def train(mesh, config=CONFIG):
    trainer = Trainer(config, mesh)
    return go_on(trainer, trainer.start_from(new_model(config.model)), BATCHES[:STEPS])


@pytest.fixture(scope="module")
def alone():
    """The losses of twenty steps on one device, and the state after them."""
    return train(mesh_of(1, 1))


@pytest.mark.slow
@pytest.mark.parametrize(("data", "fsdp"), [(8, 1), (2, 4)])
def test_twenty_steps_are_the_same_on_any_mesh(alone, data, fsdp):
    losses, _ = train(mesh_of(data, fsdp))
    np.testing.assert_allclose(losses, alone[0], rtol=1e-5)


@pytest.mark.slow
def test_a_checkpoint_of_eight_devices_goes_on_on_fewer(tmp_path):
    losses, state = train(mesh_of(4, 2))
    with CheckpointStore(tmp_path, DESCRIPTION, print) as store:
        store.save(state, None)
        expected, _ = go_on(Trainer(CONFIG, mesh_of(4, 2)), state, BATCHES[STEPS:])
        for devices, (data, fsdp) in {1: (1, 1), 4: (2, 2)}.items():
            trainer = Trainer(CONFIG, mesh_of(data, fsdp))
            restored = store.restore(trainer.abstract_state, trainer.sharding, step=STEPS)
            found, _ = go_on(trainer, restored, BATCHES[STEPS:])
            np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=f"{devices} devices")
    assert not np.allclose(losses[: len(expected)], expected, rtol=1e-5)  # the losses would have told


def test_the_average_is_what_a_checkpoint_is_used_with(tmp_path):
    """The trained parameters come back to go on from; scoring gets their average."""
    mesh = mesh_of(1, 1)
    trainer = Trainer(CONFIG, mesh)
    state = trainer.start_from(new_model(CONFIG.model))
    state = state._replace(average=jax.tree.map(lambda leaf: leaf + 1.0, state.params))
    with CheckpointStore(tmp_path, DESCRIPTION, print) as store:
        store.save(state, None)
        restored = store.restore(trainer.abstract_state, trainer.sharding, step=0)
    used = nnx.state(load_model(tmp_path).network, nnx.Param)
    for found, expected in (
        (restored.params, state.params),
        (restored.average, state.average),
        (used, state.average),
    ):
        jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(found), jax.tree.leaves(expected))


def test_no_device_has_more_than_its_shards_from_the_start():
    config = settings.replace(CONFIG, ema_decay=0.0)
    trainer = Trainer(config, mesh_of(1, 8))
    state = trainer.start_from(new_model(config.model))
    large = [leaf for leaf in jax.tree.leaves((state.params, state.opt_state)) if leaf.size >= 2**14]
    assert large
    for leaf in large:
        assert {shard.data.size for shard in leaf.addressable_shards} == {leaf.size // 8}


def test_the_layout_can_be_read():
    trainer = Trainer(CONFIG, mesh_of(1, 8))
    lines = describe_sharding(trainer.abstract_state, trainer.sharding).splitlines()
    (kernel,) = [line for line in lines if line.startswith("params.vgfe.blocks.0.fc1.kernel")]
    assert kernel.split()[1:] == ["(16,", "1024)", "float32", "whole", "x", "fsdp", "8,192"]
    (bias,) = [line for line in lines if line.startswith("params.vgfe.blocks.0.fc2.bias")]
    assert bias.split()[1:] == ["(16,)", "float32", "replicated", "64"]
    total = sum(int(line.split()[-1].replace(",", "")) for line in lines[1:-1])
    assert lines[-1].split() == ["all", f"{total:,}"]
