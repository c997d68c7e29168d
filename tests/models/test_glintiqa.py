"""The network: counts, shapes, ablations, determinism, and the layers written anew."""

import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glintiqa_jax.errors import InputError
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.files import arrays_of
from glintiqa_jax.models.freezing import freeze, split_model
from glintiqa_jax.models.glintiqa import abstract_model, create_model
from glintiqa_jax.models.integration import ChannelWiseSelfAttention, l2_normalise

# variant: (parameters, of which trained). As released, 45,136,573: ours builds no block after the last tap, which
# leaves out 2 blocks of 1,774,464, a norm of 768 and a head of 385,000.
PARAMETERS = {
    "glintiqa_s16_r50": (45_136_573 - 2 * 1_774_464 - 768 - 385_000, 32_034_261),
    "glintiqa_b16_r50": (131_082_069, 95_052_117),
    "glintiqa_ti16_r18": (11_145_109, 8_773_141),
    "glintiqa_lite": (7_092_153, 7_092_153),
    "glintiqa_mini": (235_265, 235_265),
    "glintiqa_tiny": (65_357, 65_357),
}


def images(count: int, size: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8))


@functools.partial(nnx.jit, static_argnames="return_intermediates")
def scores_of(model, batch, return_intermediates=False):
    """A forward pass, compiled as one: operation by operation takes longer."""
    return model(batch, return_intermediates=return_intermediates)


def test_every_variant_has_its_counts():
    for name, (parameters, trained) in PARAMETERS.items():
        model = abstract_model(VARIANTS[name])
        assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == parameters
        freeze(model, [r"^vgfe\.(patch_embed|blocks\.[0-4])\."] * ("16" in name))
        assert sum(leaf.size for leaf in jax.tree.leaves(split_model(model)[1])) == trained
    assert PARAMETERS.keys() == VARIANTS.keys()


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_scores_each_image(name):
    config = VARIANTS[name]
    shapes = jax.eval_shape(
        lambda x: create_model(name)(x, return_intermediates=True),
        jax.ShapeDtypeStruct((2, config.crop_size, config.crop_size, 3), jnp.float32),
    )
    scores, steps = shapes
    assert scores.shape == (2,)
    assert scores.dtype == jnp.float32
    assert steps["vit1"].shape == steps["f4"].shape == (2, config.tokens, config.width)
    assert steps["cwsa1"].shape == (2, 2 * config.width, config.tokens)
    assert steps["local_cwsa"].shape == (2, len(config.embedded_stages) * config.width, config.tokens)
    for number, (stride, channels) in enumerate(zip(config.cnn.strides, config.cnn.channels, strict=True), start=1):
        assert steps[f"cnn{number}"].shape == (2, config.crop_size // stride, config.crop_size // stride, channels)


def test_a_seed_makes_a_network():
    first, again, other = (scores_of(create_model("glintiqa_tiny", seed=seed), images(2, 32)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_initial_values_are_those_of_every_version():
    """So that a seed of an old report means the same network; SHA-256 of version 0.10's values."""
    sha = hashlib.sha256()
    for name, array in sorted(arrays_of(create_model("glintiqa_tiny", seed=3)).items()):
        sha.update(name.encode() + array.tobytes())
    assert sha.hexdigest() == "44a324b1d766c3485599abd0b375a41be779828c26b2ccc8ba2c5d7ab39c81ed"


def test_uint8_and_floats_are_the_same_images():
    model, batch = create_model("glintiqa_tiny"), images(2, 32)
    np.testing.assert_allclose(scores_of(model, batch), scores_of(model, batch / np.float32(255)), atol=1e-5)


def test_a_score_does_not_depend_on_the_batch():
    model, batch = create_model("glintiqa_tiny"), images(4, 32)
    np.testing.assert_allclose(scores_of(model, batch)[:1], scores_of(model, batch[:1]), rtol=1e-5)


@pytest.mark.parametrize(
    "overrides",
    [
        {"vit": None},
        {"cnn": None},
        {"embedded_stages": (2, 3), "resnet_bottleneck": True, "vit_stem": 2},
        {"use_cwsa": False, "tapped_blocks": (1,)},
        {"use_siem": False, "attention_layout": "transposed", "patch_size": 32, "crop_size": 64},
        {"use_cwsa": False, "use_siem": False},
    ],
    ids=str,
)
def test_every_ablation_builds_scores_and_learns(overrides):
    model = create_model("glintiqa_tiny", **({} if "vit" in overrides else {"tapped_blocks": (0, 1)}) | overrides)
    batch = images(3, model.config.crop_size)
    graphdef, params, rest = split_model(model)

    def total(params):
        scores = nnx.merge(graphdef, params, rest)(batch)
        return jnp.sum(scores), scores

    gradients, scores = jax.jit(jax.grad(total, has_aux=True))(params)
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()
    for path, leaf in nnx.to_flat_state(gradients):
        assert np.any(np.asarray(leaf[...]) != 0), f"no gradient reaches {path}"


def test_released_layout_is_the_shuffled_transpose():
    """Beside NumPy in float64."""
    x = np.random.default_rng(1).normal(size=(2, 6, 4)).astype(np.float32)
    released = ChannelWiseSelfAttention(4, dropout=0.0, layout="released", rngs=nnx.Rngs(0))
    plain = ChannelWiseSelfAttention(4, dropout=0.0, layout="transposed", rngs=nnx.Rngs(0))

    q, k, v = (
        x.astype(np.float64) @ np.asarray(layer.kernel[...], np.float64)
        for layer in (plain.query, plain.key, plain.value)
    )
    q, k = (rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in (q, k))
    weights = np.exp(q @ k.transpose(0, 2, 1) * 4**-0.5)
    attention = weights / weights.sum(-1, keepdims=True)
    np.testing.assert_allclose(plain.attention(jnp.asarray(x)), attention, atol=1e-6)
    y = attention @ v
    shuffled = np.stack([one.T.copy().ravel().reshape(6, 4) for one in y])
    for layer, values in ((released, shuffled), (plain, y)):
        # undo the residual; the norm must see these values
        found = layer(jnp.asarray(x), train=False, rngs=None) - x
        centred = values - values.mean(-1, keepdims=True)
        expected = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("use_siem", [True, False])
def test_identity_start_passes_the_local_feature_on(use_siem):
    models = [create_model("glintiqa_tiny", identity_start=start, use_siem=use_siem) for start in (True, False)]
    (_, steps), (_, usual) = (scores_of(model, images(2, 32), return_intermediates=True) for model in models)
    for found, close in ((steps, True), (usual, False)):
        moved = np.linalg.norm(found["f4"] - found["local_feature"]) / np.linalg.norm(found["local_feature"])
        assert (moved < 0.8) == close
        assert (
            np.allclose(found["cwsa1"], np.concatenate([found["vit1"], found["local_feature"]], -1).swapaxes(1, 2))
            == close
        )


def test_a_hybrids_tokens_come_from_the_cnns_map():
    model = create_model("glintiqa_tiny", vit_stem=2, tapped_blocks=(0,))
    kernel, stride = model.vgfe.patch_embed.kernel.shape, model.config.cnn.strides[1]
    assert kernel == ((16 // stride) ** 2 * model.config.cnn.channels[1], model.config.width)
    _, steps = scores_of(model, images(2, 32), return_intermediates=True)
    (tokens,) = nnx.jit(lambda vit, maps: vit(None, maps))(model.vgfe, [None, steps["cnn2"]])
    np.testing.assert_allclose(tokens, steps["vit1"], atol=1e-5)


def test_l2_normalise_has_a_gradient_at_zero():
    gradient = jax.grad(lambda x: jnp.sum(l2_normalise(x)))(jnp.zeros((3,)))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("wrong", [jnp.zeros((1, 48, 48, 3)), jnp.zeros((1, 32, 32, 3), jnp.int32)])
def test_images_of_another_size_or_dtype_are_refused(wrong):
    with pytest.raises(InputError, match=r"images: expected uint8, or floats in .* \(batch, 32, 32, 3\)"):
        abstract_model(VARIANTS["glintiqa_tiny"])(wrong)
