"""One training step is the reference's: loss, every gradient, statistics and parameters. Figures: PyTorch 2.13."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from reference import official_state_dict, parity

from glintiqa_jax.models.glintiqa import new_model, split_model, variant_config
from glintiqa_jax.models.weights import export_glintiqa, load_glintiqa
from glintiqa_jax.sharding import make_mesh
from glintiqa_jax.training.config import TrainConfig
from glintiqa_jax.training.step import Trainer

CONFIG = TrainConfig(
    variant="glintiqa_s16_r50",
    model=variant_config("glintiqa_s16_r50", attention_dropout=0.0, head_dropout=0.0),
    batch_size=2,
    loss="l1",
    optimizer="adam_l2",
    learning_rate=1e-5,
    weight_decay=1e-5,
    schedule="released_cosine",
)
NOT_BUILT = ("vgfe.backbone.blocks.10.", "vgfe.backbone.blocks.11.", "vgfe.backbone.norm.", "vgfe.backbone.head.")


@dataclasses.dataclass
class Step:
    """What one step made of the reference weights, in the official layout."""

    loss: float
    gradients: dict[str, np.ndarray]
    after: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def step():
    model = new_model(CONFIG.model)
    load_glintiqa(model, official_state_dict())
    trainer = Trainer(CONFIG, make_mesh(devices=jax.devices()[:1]))
    state = trainer.start_from(model)
    batch = {"image": parity()["image"], "target": parity()["target"]}
    state, loss = trainer.step(state, batch, jax.random.key(0))
    moments = optax.tree_utils.tree_get(state.opt_state, "mu")
    _, params, rest = split_model(model)
    # Adam's first moment after a step is a tenth of the gradient, to which the L2 decay was added.
    gradients = jax.tree.map(lambda mu, p: 10 * mu - CONFIG.weight_decay * p, moments, params)
    return Step(
        float(loss),
        export_glintiqa(nnx.merge(trainer.graphdef, gradients, rest)),
        export_glintiqa(nnx.merge(trainer.graphdef, state.params, state.rest)),
    )


def test_loss(step):
    assert step.loss == pytest.approx(float(parity()["loss"]), abs=1e-5)


def test_every_gradient_norm(step):
    expected = {key.removeprefix("gradnorm/"): value for key, value in parity().items() if key.startswith("gradnorm/")}
    assert len(expected) == 247
    errors = {key: abs(np.linalg.norm(step.gradients[key]) / value - 1) for key, value in expected.items()}
    assert max(errors.values()) <= 5e-3, max(errors, key=errors.get)
    assert np.median(list(errors.values())) <= 1e-4


def test_statistics_and_parameters(step):
    for name, expected in parity().items():
        key = name.removeprefix("step1/")
        if key == name or key.startswith(NOT_BUILT):
            continue
        found = step.after[key].ravel()[: expected.size]
        if "running" in key:
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5, err_msg=key)
        else:
            assert np.mean(np.abs(found - expected) <= 1e-7) >= 0.99, key


def test_frozen_parameters_are_untouched(step):
    frozen = ("vgfe.backbone.patch_embed.", *(f"vgfe.backbone.blocks.{block}." for block in range(5)))
    before = official_state_dict()
    names = [name for name in before if name.startswith(frozen)]
    assert len(names) == 2 + 5 * 12
    for name in names:
        np.testing.assert_array_equal(step.after[name], before[name])
