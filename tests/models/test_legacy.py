"""Checkpoints of versions up to 0.10: the same network, and the same scores."""

import numpy as np
import pytest
from flax import nnx

from glintiqa_jax.errors import InputError
from glintiqa_jax.models.config import VARIANTS, variant_config
from glintiqa_jax.models.files import arrays_of, load_weights
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.models.legacy import convert_arrays, from_old

PATCHES = variant_config("glintiqa_lite", vit_stem=0)
# As version 0.10 wrote glintiqa_lite.
LITE = {
    "crop_size": 224,
    "patch_size": 32,
    "width": 192,
    "vit_heads": 3,
    "vit_mlp_width": 384,
    "tapped_blocks": [0, 1, 2, 3],
    "cnn": "efficientnet_lite0",
    "resnet_blocks": [3, 4, 6],
    "resnet_bottleneck": True,
    "resnet_width": 64,
    "use_vit": True,
    "use_cnn": True,
    "embedded_stages": [1, 2, 3, 4],
    "use_cwsa": True,
    "use_siem": True,
    "attention_layout": "released",
    "identity_start": True,
    "attention_dropout": 0.1,
    "head_dropout": 0.1,
    "frozen_blocks": 0,
    "frozen_stages": 0,
    "batch_statistics": False,
    "train_embeddings": True,
}


@pytest.mark.parametrize(
    ("old", "config"),
    [
        ({}, VARIANTS["glintiqa_s16_r50"]),
        (LITE, PATCHES),
        (LITE | {"frozen_stages": 2, "frozen_blocks": 1, "train_embeddings": False}, PATCHES),
        (LITE | {"use_cnn": False}, variant_config(PATCHES, cnn=None)),
        ({"use_vit": False, "use_siem": False}, variant_config("glintiqa_s16_r50", vit=None, use_siem=False)),
    ],
)
def test_the_same_network(old, config):
    assert from_old(old) == config


def test_what_no_version_had_is_refused():
    with pytest.raises(InputError, match="does not know: depth"):
        from_old({"depth": 3})


def test_the_same_scores():
    """Of version 0.10's glintiqa_lite of seed 3, whose ViT took images normalised as an EfficientNet's are."""
    old = LITE | {"crop_size": 64, "use_cnn": False}
    model = new_model(from_old(old), seed=3)
    load_weights(model, convert_arrays(old, arrays_of(model)))
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    scores = nnx.jit(lambda model, images: model(images))(model, images)
    np.testing.assert_allclose(scores, [0.27739205956459045, -0.4451855421066284], atol=1e-5)
    arrays = arrays_of(model)
    assert convert_arrays(old | {"cnn": "resnet"}, arrays) == arrays
