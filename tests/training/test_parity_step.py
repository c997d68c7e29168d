"""One training step is the reference's: loss, every gradient, statistics and parameters. Figures: PyTorch 2.13.

The reference's batch is of two images. A batch of 32 has each of them sixteen times, which changes no mean.
"""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from reference import official_state_dict, parity

from glintiqa_jax import settings
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.freezing import freeze, split_model
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.models.weights import export_glintiqa, load_glintiqa
from glintiqa_jax.sharding import make_mesh
from glintiqa_jax.training.experiment import Experiment
from glintiqa_jax.training.step import Trainer

FROZEN = (r"^vgfe\.(patch_embed|blocks\.[0-4])\.",)  # as released
CONFIG = settings.replace(
    Experiment(model=VARIANTS["glintiqa_s16_r50"]),
    attention_dropout=0.0,
    head_dropout=0.0,
    frozen=FROZEN,
    batch_size=2,
    loss="l1",
    optimizer="adam_l2",
    learning_rate=1e-5,
    weight_decay=1e-5,
    schedule="released_cosine",
)
pytestmark = pytest.mark.compiled_for_users
NOT_BUILT = ("vgfe.backbone.blocks.10.", "vgfe.backbone.blocks.11.", "vgfe.backbone.norm.", "vgfe.backbone.head.")


@dataclasses.dataclass
class Step:
    """What one step made of the reference weights, in the official layout."""

    batch_size: int
    loss: float
    gradients: dict[str, np.ndarray]
    after: dict[str, np.ndarray]


@pytest.fixture(scope="module", params=[2, pytest.param(32, marks=pytest.mark.slow)])
def step(request):
    model = new_model(CONFIG.model)
    load_glintiqa(model, official_state_dict())
    config = settings.replace(CONFIG, batch_size=request.param)
    trainer = Trainer(config, make_mesh(devices=jax.devices()[:1]))
    state = trainer.start_from(model)
    batch = {name: np.repeat(parity()[name], request.param // 2, axis=0) for name in ("image", "target")}
    state, loss = trainer.step(state, batch, jax.random.key(0))
    moments = optax.tree_utils.tree_get(state.opt_state, "mu")
    freeze(model, FROZEN)
    _, params, rest = split_model(model)
    # Adam's first moment after a step is a tenth of the gradient, to which the L2 decay was added.
    gradients = jax.tree.map(lambda mu, p: 10 * mu - CONFIG.optimiser.weight_decay * p, moments, params)
    return Step(
        request.param,
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
    compared = []
    for name, expected in parity().items():
        key = name.removeprefix("step1/")
        if key == name or key.startswith(NOT_BUILT):
            continue
        found = step.after[key].ravel()[: expected.size]
        if "running" in key:
            # PyTorch's running variance is the unbiased one, which grows less with more values
            rtol = 1e-5 if step.batch_size == 2 else 1e-3
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=rtol, err_msg=key)
        else:
            # Adam's first update is the gradient's sign, which rounding decides where the gradient is almost none
            gradient = step.gradients[key].ravel()
            clear = np.abs(gradient[: expected.size]) > 0.05 * np.sqrt(np.mean(np.square(gradient)))
            np.testing.assert_allclose(found[clear], expected[clear], atol=1e-7, rtol=0, err_msg=key)
            assert np.mean(np.abs(found - expected) <= 1e-7) >= 0.98, key
            compared.append(clear)
    assert np.mean(np.concatenate(compared)) > 0.75


def test_frozen_parameters_are_untouched(step):
    frozen = ("vgfe.backbone.patch_embed.", *(f"vgfe.backbone.blocks.{block}." for block in range(5)))
    before = official_state_dict()
    names = [name for name in before if name.startswith(frozen)]
    assert len(names) == 2 + 5 * 12
    for name in names:
        np.testing.assert_array_equal(step.after[name], before[name])
