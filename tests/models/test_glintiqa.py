"""The network: counts, shapes, ablations, determinism, and the layers written anew."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glintiqa_jax.models.glintiqa import VARIANTS, GlintIQAConfig, create_model, parameter_counts, split_model
from glintiqa_jax.models.integration import ChannelWiseSelfAttention, l2_normalise
from glintiqa_jax.models.resnet import BatchNorm, PointwiseConv, max_pool_3x3
from glintiqa_jax.models.vit import PatchEmbedding

# variant: (parameters, of which trained). As released, 45,136,573: ours builds no block after the last tap, which
# leaves out 2 blocks of 1,774,464, a norm of 768 and a head of 385,000.
PARAMETERS = {
    "glintiqa_s16_r50": (45_136_573 - 2 * 1_774_464 - 768 - 385_000, 32_034_261),
    "glintiqa_b16_r50": (131_082_069, 95_052_117),
    "glintiqa_ti16_r18": (11_145_109, 8_773_141),
    "glintiqa_lite": (7_559_097, 7_559_097),
    "glintiqa_mini": (235_265, 235_265),
    "glintiqa_tiny": (65_357, 65_357),
}


def images(count: int, size: int, seed: int = 0) -> jax.Array:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)
    return create_model("glintiqa_tiny").preprocess(jnp.asarray(pixels))


def scores_of(model, batch, **options):
    """A forward pass, compiled as one: operation by operation takes longer."""
    return nnx.jit(lambda model, batch: model(batch, **options))(model, batch)


def test_every_variant_has_its_counts():
    assert {name: parameter_counts(config) for name, config in VARIANTS.items()} == PARAMETERS


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
    maps = range(1, config.cnn_maps + 1)
    assert [steps[f"cnn{number}"].shape[1] * 2 ** (number + 1) for number in maps] == [config.crop_size] * len(maps)


def test_a_seed_makes_a_network():
    first, again, other = (scores_of(create_model("glintiqa_tiny", seed=seed), images(2, 32)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_score_does_not_depend_on_the_batch():
    model, batch = create_model("glintiqa_tiny"), images(4, 32)
    np.testing.assert_allclose(scores_of(model, batch)[:1], scores_of(model, batch[:1]), rtol=1e-5)


@pytest.mark.parametrize(
    "overrides",
    [
        {"use_vit": False},
        {"use_cnn": False},
        {"embedded_stages": (2, 3)},
        {"use_cwsa": False},
        {"use_siem": False},
        {"use_cwsa": False, "use_siem": False},
        {"tapped_blocks": (3,)},
        {"attention_layout": "transposed"},
        {"patch_size": 32, "crop_size": 64},
        {"resnet_bottleneck": True},
    ],
    ids=str,
)
def test_every_ablation_builds_scores_and_learns(overrides):
    model = create_model("glintiqa_tiny", **overrides)
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
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 4)), jnp.float32)
    released = ChannelWiseSelfAttention(4, dropout=0.0, layout="released", rngs=nnx.Rngs(0))
    plain = ChannelWiseSelfAttention(4, dropout=0.0, layout="transposed", rngs=nnx.Rngs(0))
    # undo the residual; the norm must see the shuffled values
    shuffled = released(x, train=False, rngs=None) - x
    q, k, v = l2_normalise(plain.query(x)), l2_normalise(plain.key(x)), plain.value(x)
    y = np.asarray(jax.nn.softmax(q @ k.transpose(0, 2, 1) * 4**-0.5, axis=-1) @ v)
    by_hand = np.stack([one.T.copy().ravel().reshape(6, 4) for one in y])
    np.testing.assert_allclose(shuffled, released.norm(jnp.asarray(by_hand)), atol=1e-5)
    np.testing.assert_allclose(plain(x, train=False, rngs=None) - x, plain.norm(jnp.asarray(y)), atol=1e-5)


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


def test_l2_normalise_has_a_gradient_at_zero():
    gradient = jax.grad(lambda x: jnp.sum(l2_normalise(x)))(jnp.zeros((3,)))
    assert np.isfinite(gradient).all()


def test_batch_norm_keeps_the_unbiased_variance():
    x = np.random.default_rng(0).normal(3, 2, (2, 3, 4, 5)).astype(np.float32)
    norm = BatchNorm(5)
    norm(jnp.asarray(x), train=True)
    flat = x.reshape(-1, 5)
    np.testing.assert_allclose(norm.mean[...], 0.1 * flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * flat.var(0, ddof=1), rtol=1e-5)


def test_max_pool_is_the_windowed_one_and_so_is_its_gradient():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 6, 3)), jnp.float32)

    def windowed(x):
        return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))

    np.testing.assert_array_equal(max_pool_3x3(x), windowed(x))
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 3, 3)), jnp.float32)
    ours, theirs = (jax.grad(lambda x, pool=pool: jnp.sum(weights * pool(x)))(x) for pool in (max_pool_3x3, windowed))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(("kernel", "stride", "layer"), [(1, 2, PointwiseConv), (2, 2, PatchEmbedding)])
def test_matrix_products_are_convolutions(kernel, stride, layer):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 5)), jnp.float32)
    if layer is PointwiseConv:
        module = PointwiseConv(5, 7, stride=stride, rngs=nnx.Rngs(0))
        bias = jnp.zeros((7,))
    else:
        module = PatchEmbedding(5, 7, kernel=kernel, rngs=nnx.Rngs(0))
        bias = module.bias[...]
    expected = jax.lax.conv_general_dilated(
        x,
        module.kernel[...].reshape(kernel, kernel, 5, 7),
        (stride, stride),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(module(x).reshape(expected.shape), expected + bias, atol=1e-5)


def test_frozen_prefix_is_not_trained():
    model = create_model("glintiqa_tiny", frozen_blocks=2, train_embeddings=False)
    trained = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(split_model(model)[1])}
    assert any(name.startswith("vgfe.blocks.2.") for name in trained)
    frozen = ("vgfe.patch_embed", "vgfe.blocks.0.", "vgfe.blocks.1.", "vgfe.cls_token", "vgfe.pos_embed")
    assert not [name for name in trained if name.startswith(frozen)]


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"crop_size": 100}, "crop_size"),
        ({"patch_size": 8}, "patch_size"),
        ({"width": 50}, "vit_heads"),
        ({"tapped_blocks": (3, 2)}, "tapped_blocks"),
        ({"tapped_blocks": ()}, "tapped_blocks"),
        ({"embedded_stages": (0,)}, "embedded_stages"),
        ({"embedded_stages": (1, 4), "patch_size": 32}, "embedded_stages must be .* of 1, 2, 3 where cnn is resnet"),
        ({"embedded_stages": (1, 4), "cnn": "efficientnet_lite0"}, "1, 2, 3 where cnn is .* and patch_size 16"),
        ({"cnn": "efficientnet_lite0", "embedded_stages": (1, 2), "frozen_stages": 3}, "from 0 to 2, found 3"),
        ({"frozen_stages": 4}, "from 0 to 3, found 4"),
        ({"resnet_blocks": (1, 1)}, "resnet_blocks"),
        ({"use_vit": False, "use_cnn": False}, "use_vit"),
        ({"attention_layout": "upright"}, "attention_layout"),
        ({"head_dropout": 1.0}, "head_dropout"),
        ({"frozen_blocks": 11}, "frozen_blocks"),
    ],
)
def test_impossible_networks_are_refused_by_field(overrides, named):
    with pytest.raises(ValueError, match=named):
        dataclasses.replace(GlintIQAConfig(), **overrides)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="glintiqa_s16_r50"):
        create_model("glintiqa_huge")
    with pytest.raises(ValueError, match="hidden_size"):
        create_model("glintiqa_tiny", hidden_size=3)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(batch, 32, 32, 3\)"):
        create_model("glintiqa_tiny")(jnp.zeros((1, 48, 48, 3)))
