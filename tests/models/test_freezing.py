"""Freezing by patterns: what is found is not trained, what is not found is refused, and copies stay as they were."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glintiqa_jax.errors import InputError
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.files import dotted
from glintiqa_jax.models.freezing import freeze, split_model
from glintiqa_jax.models.glintiqa import abstract_model
from glintiqa_jax.models.ops import BatchNorm

TINY, LITE = VARIANTS["glintiqa_tiny"], VARIANTS["glintiqa_lite"]


def trained_by(model) -> set[str]:
    return {dotted(path) for path, _ in nnx.to_flat_state(split_model(model)[1])}


@pytest.mark.parametrize(
    ("config", "pattern", "prefixes"),
    [
        (TINY, r"^vgfe\.(patch_embed|blocks\.[01])\.", ("vgfe.patch_embed.", "vgfe.blocks.0.", "vgfe.blocks.1.")),
        (TINY, r"^vgfe\.(cls_token|pos_embed)$", ("vgfe.cls_token", "vgfe.pos_embed")),
        (TINY, TINY.cnn.up_to(2), ("clfe.conv1.", "clfe.bn1.", "clfe.stages.0.", "clfe.stages.1.")),
        (LITE, LITE.cnn.up_to(2), ("clfe.stem.", "clfe.stem_bn.", *(f"clfe.blocks.{block}." for block in range(5)))),
        (TINY, r"^clfe\..*\.(mean|var)$", ()),  # statistics, which are not trained anyway
    ],
)
def test_what_is_found_is_not_trained(config, pattern, prefixes):
    model = abstract_model(config)
    freeze(model, [pattern])
    everything = trained_by(abstract_model(config))  # a model by itself, which is not frozen with the other
    frozen = everything - trained_by(model)
    assert frozen == {name for name in everything if any(name.startswith(prefix) for prefix in prefixes)}
    assert all(any(name.startswith(prefix) for name in frozen) for prefix in prefixes)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("^vggfe", r"frozen: .* found '\^vggfe'; one of them is "), ("(", r"frozen: expected regular expressions, found")],
)
def test_a_pattern_that_freezes_nothing_is_refused(pattern, message):
    model = abstract_model(TINY)
    with pytest.raises(InputError, match=message):
        freeze(model, [r"^head\.", pattern])
    assert trained_by(model) == trained_by(abstract_model(TINY))


def test_a_frozen_mean_is_what_training_normalises_by():
    x = jnp.asarray(np.random.default_rng(0).normal(3, 2, (2, 3, 4, 5)), jnp.float32)
    norm = BatchNorm(5)
    freeze(norm, ["mean"])
    np.testing.assert_array_equal(norm(x, train=True), norm(x, train=False))
    np.testing.assert_array_equal(norm.mean[...], 0)
