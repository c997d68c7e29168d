"""The forward pass is the reference network's, tap by tap. Figures: PyTorch 2.13, float32 on a CPU."""

import jax
import numpy as np
import pytest
from flax import nnx
from reference import official_state_dict, parity, sample_positions

from glintiqa_jax import compilation
from glintiqa_jax.models.glintiqa import create_model
from glintiqa_jax.models.weights import load_glintiqa
from glintiqa_jax.sharding import make_mesh

pytestmark = pytest.mark.compiled_for_users

# the reference's name of a tap: ours, and every how manieth pixel of a map the reference keeps
TAPS = {
    **{f"vgfe.block{block}": (f"vit{i}", 1) for i, block in enumerate((6, 7, 8, 9), start=1)},
    "clfe.layer1": ("cnn1", 4),
    "clfe.layer2": ("cnn2", 2),
    "clfe.layer3": ("cnn3", 1),
    **{f"clfe.patch_embed{i}": (f"embedding{i}", 1) for i in (1, 2, 3)},
    "local_cwsa": ("local_cwsa", 1),
    "local_projection": ("local_feature", 1),
    **{f"cwsa{i}": (f"cwsa{i}", 1) for i in (1, 2, 3, 4)},
    **{f"siem{i}": (f"f{i}", 1) for i in (1, 2, 3, 4)},
}


@pytest.fixture(scope="module", params=[2, pytest.param(32, marks=pytest.mark.slow)])
def found(request):
    """Scores of a batch of the two reference images, and every tap of the first as the reference keeps it."""
    model = create_model("glintiqa_s16_r50")
    load_glintiqa(model, official_state_dict())
    graphdef, state = nnx.split(model)

    def forward(state, images):
        model = nnx.merge(graphdef, state)
        return model(images, return_intermediates=True)

    images = np.tile(parity()["image"], (request.param // 2, 1, 1, 1))
    scores, steps = compilation.jit(forward, make_mesh(devices=jax.devices()[:1]))(state, images)
    taps = {}
    for theirs, (ours, every) in TAPS.items():
        tap = np.asarray(steps[ours][:1])
        taps[theirs] = tap[:, ::every, ::every] if tap.ndim == 4 else tap
    return np.asarray(scores), taps


def test_scores(found):
    expected = parity()["score"]
    np.testing.assert_allclose(found[0], np.tile(expected, len(found[0]) // len(expected)), atol=1e-4)


@pytest.mark.parametrize("tap", TAPS)
def test_taps(found, tap):
    values, expected = found[1][tap].ravel(), parity()[f"values/{tap}"]
    kept = values[sample_positions(tap, values.size)]
    assert np.linalg.norm(kept - expected) <= 1e-4 * np.linalg.norm(expected)
    assert np.linalg.norm(values.astype(np.float64)) == pytest.approx(parity()[f"norm/{tap}"], rel=1e-4)


def test_taps_in_full(found, shared):
    with np.load(shared / "parity" / "glintiqa" / "expected_forward.npz") as expected:
        for tap in TAPS:
            error = np.linalg.norm(found[1][tap].ravel() - expected[tap].ravel()) / np.linalg.norm(expected[tap])
            assert error <= 1e-4, tap
