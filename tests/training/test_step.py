"""The training step: it learns, it means what PyTorch's means, and any mesh gives the same."""

import math
import re

import jax
import jax.ad_checkpoint
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from glintiqa_jax import settings
from glintiqa_jax.errors import InputError
from glintiqa_jax.models.computation import recompute_blocks
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.freezing import split_model
from glintiqa_jax.models.glintiqa import abstract_model, new_model
from glintiqa_jax.sharding import check_divides, make_mesh, state_sharding
from glintiqa_jax.training.experiment import Experiment
from glintiqa_jax.training.losses import LOSSES, Loss, ladder_loss
from glintiqa_jax.training.optimiser import learning_rate_schedule, make_optimiser
from glintiqa_jax.training.step import Trainer

TINY = VARIANTS["glintiqa_tiny"]
# One stage and one block, which compile in a third of the time.
SHALLOW = settings.replace(TINY, tapped_blocks=(0,), attention_dropout=0.0, head_dropout=0.0)
CONFIG = settings.replace(
    Experiment(model=TINY),
    batch_size=8,
    warmup_steps=0,
    steps=50,
    learning_rate=1e-3,
)
RNG = np.random.default_rng(0)
BATCH = {
    "image": RNG.integers(0, 256, (8, 32, 32, 3), np.uint8),
    "target": RNG.random(8, np.float32),
}


def losses(config, mesh, steps):
    trainer = Trainer(config, mesh)
    state = trainer.start_from(new_model(config.model))
    found = []
    for _ in range(steps):
        state, loss = trainer.step(state, BATCH, jax.random.key(1))
        found.append(float(loss))
    return np.array(found), state


def test_a_step_lowers_the_loss():
    config = settings.replace(CONFIG, attention_dropout=0.0, head_dropout=0.0)
    found, state = losses(config, make_mesh(devices=jax.devices()[:1]), 6)
    assert found[1] < found[0]
    assert found[-1] < 0.7 * found[0]
    assert int(state.step) == 6


@pytest.fixture(scope="module")
def alone():
    """The config, and the loss and the state after one step on one device."""
    # with a parameter large enough to be sharded
    config = settings.replace(CONFIG, tapped_blocks=(0,), vit_mlp_width=1024)
    return config, *losses(config, make_mesh(devices=jax.devices()[:1]), 1)


@pytest.mark.parametrize(("data", "fsdp"), [(8, 1), (4, 2)])
def test_any_mesh_takes_the_same_step(alone, data, fsdp):
    config, expected_loss, expected = alone
    loss, state = losses(config, make_mesh(data, fsdp), 1)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    kernels = [leaf.sharding.spec for leaf in jax.tree.leaves(state.params) if leaf.size >= 2**14]
    assert kernels
    assert all(("fsdp" in spec) == (fsdp > 1) for spec in kernels)
    # The statistics, and Adam's moments, which after one step are the gradient and its square. Not the parameters:
    # Adam's first step is the gradient's sign, and turns the rounding of one near zero into a whole step.
    for ours, theirs in zip(
        jax.tree.leaves((state.rest, state.opt_state)),
        jax.tree.leaves((expected.rest, expected.opt_state)),
        strict=True,
    ):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert np.linalg.norm(ours - theirs) <= 1e-3 * np.linalg.norm(theirs) + 1e-7


def test_frozen_parameters_stay_and_statistics_move():
    frozen = (r"^vgfe\.(patch_embed|blocks\.0)\.", r"^vgfe\.(cls_token|pos_embed)$")
    config = settings.replace(CONFIG, tapped_blocks=(0, 1), frozen=frozen)
    trainer = Trainer(config, make_mesh(devices=jax.devices()[:1]))
    state = trainer.start_from(new_model(config.model))
    before = {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(state.rest)}
    state, _ = trainer.step(state, BATCH, jax.random.key(0))
    for path, leaf in nnx.to_flat_state(state.rest):
        moved = not np.array_equal(before[path], leaf[...])
        assert moved == ("mean" in path or "var" in path), path


def test_frozen_embeddings_save_the_way_back_through_the_frozen_blocks():
    def operations(*more):
        config = settings.replace(CONFIG, frozen=(r"^vgfe\.(patch_embed|blocks\.[0-2])\.", *more))
        trainer = Trainer(config, make_mesh(devices=jax.devices()[:1]))
        key = jax.eval_shape(lambda: jax.random.key(0))
        return trainer.step.lower(trainer.abstract_state, BATCH, key).cost_analysis()["flops"]

    assert operations(r"^vgfe\.(cls_token|pos_embed)$") < 0.99 * operations()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frozen", "weights_move", "statistics_move"),
    [
        ((), [True, True], [True, True]),
        ((r"^clfe\..*\.(mean|var)$",), [True, True], [False, False]),
        ((r"^clfe\.(conv1|bn1|stages\.0)\.",), [False, True], [False, True]),
    ],
    ids=str,
)
def test_what_moves_in_the_cnn(frozen, weights_move, statistics_move):
    """In its stem and in its second stage."""
    config = settings.replace(CONFIG, frozen=frozen)
    trainer = Trainer(config, make_mesh(devices=jax.devices()[:1]))
    model = new_model(config.model)
    state, _ = trainer.step(trainer.start_from(model), BATCH, jax.random.key(0))
    after = nnx.merge(trainer.graphdef, state.params, state.rest)
    pairs = [(after.clfe, model.clfe), (after.clfe.stages[1][0], model.clfe.stages[1][0])]
    assert [np.any(a.conv1.kernel[...] != b.conv1.kernel[...]) for a, b in pairs] == weights_move
    assert [np.any(a.bn1.mean[...] != b.bn1.mean[...]) for a, b in pairs] == statistics_move


def test_rates_are_by_name_and_the_first_match_counts():
    config = settings.replace(CONFIG, rates=("^clfe=0", "vgfe=0.5", "kernel=9"), weight_decay=0.0)
    optimiser = make_optimiser(config)
    params = {name: {"kernel": jnp.ones((2, 2))} for name in ("clfe", "vgfe", "not_clfe")} | {"bias": jnp.ones((2, 2))}
    updates, _ = optimiser.update(params, optimiser.init(params), params)
    assert not np.any(updates["clfe"]["kernel"])
    np.testing.assert_allclose(updates["vgfe"]["kernel"], 0.5 * updates["bias"], rtol=1e-6)
    np.testing.assert_allclose(updates["not_clfe"]["kernel"], 9 * updates["bias"], rtol=1e-6)
    assert np.all(updates["bias"] < 0)


def test_a_rate_that_changes_nothing_is_refused():
    config = settings.replace(CONFIG, rates=(r"^stages\.\d\.siem=0.1", "vggfe=2"))
    with pytest.raises(
        InputError,
        match=r"rates: expected a pattern that is found in the name of a trained parameter, .* found 'vggfe'",
    ):
        Trainer(config, make_mesh(devices=jax.devices()[:1]))


def test_adam_l2_adds_the_decay_to_the_gradient():
    """By hand, from the definition of torch.optim.Adam(weight_decay=): moments see gradient + decay * parameter."""
    config = settings.replace(
        CONFIG, optimizer="adam_l2", weight_decay=0.1, learning_rate=0.01, schedule="released_cosine", cosine_period=30
    )
    optimiser = make_optimiser(config)
    parameter, gradient = np.float32(2.0), np.float32(0.5)
    params = {"kernel": jnp.full((2, 2), parameter)}
    updates, _ = optimiser.update({"kernel": jnp.full((2, 2), gradient)}, optimiser.init(params), params)
    decayed = gradient + 0.1 * parameter
    expected = -0.01 * decayed / (np.sqrt(decayed**2) + 1e-8)
    np.testing.assert_allclose(updates["kernel"], expected, rtol=1e-5)


def test_adamw_decays_kernels_only():
    config = settings.replace(CONFIG, weight_decay=0.1, learning_rate=0.01)
    optimiser = make_optimiser(config)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones((2,)), "token": jnp.ones((1, 1, 2))}
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimiser.update(zero, optimiser.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.001, rtol=1e-5)
    assert not np.any(updates["bias"])
    assert not np.any(updates["token"])


def test_large_gradients_are_scaled_down_to_clip_norm():
    config = settings.replace(CONFIG, clip_norm=1.0)
    optimiser = make_optimiser(config)
    params = {"kernel": jnp.ones((2, 2))}
    for size, clipped in ((50.0, 0.5), (0.25, 0.25)):  # norms 100 and 0.5
        _, state = optimiser.update({"kernel": jnp.full((2, 2), size)}, optimiser.init(params), params)
        first_moment = optax.tree_utils.tree_get(state, "mu")["kernel"]
        np.testing.assert_allclose(first_moment, 0.1 * clipped, rtol=1e-5)


def test_schedules():
    rise = learning_rate_schedule(settings.replace(CONFIG, warmup_steps=10, learning_rate=1.0))
    np.testing.assert_allclose([rise(0), rise(5), rise(10), rise(30), rise(50)], [0, 0.5, 1, 0.5, 0], atol=1e-6)
    wave = learning_rate_schedule(
        settings.replace(CONFIG, schedule="released_cosine", cosine_period=30, learning_rate=2.0)
    )
    np.testing.assert_allclose([wave(0), wave(15), wave(30), wave(60), wave(90)], [2, 1, 0, 2, 0], atol=1e-5)


def test_meshes_and_batches_that_do_not_divide_are_refused():
    with pytest.raises(InputError, match=r"mesh_data.*8 devices"):
        make_mesh(3, 2)
    with pytest.raises(InputError, match="batch_size: expected a multiple of the 8 devices, found 12"):
        check_divides("batch_size", 12, make_mesh())


def test_small_arrays_are_replicated():
    shapes = {"small": jax.ShapeDtypeStruct((8, 8), jnp.float32), "odd": jax.ShapeDtypeStruct((32769,), jnp.float32)}
    shardings = state_sharding(make_mesh(4, 2), shapes)
    assert all(sharding.is_fully_replicated for sharding in shardings.values())


def one_step(*, remat=False, **overrides):
    """The loss, the state and the trainer after one step of the shallow network on one device."""
    config = settings.replace(CONFIG, **{"model": SHALLOW, "learning_rate": 1e-5} | overrides)
    trainer = Trainer(config, make_mesh(devices=jax.devices()[:1]), remat=remat)
    state, loss = trainer.step(trainer.start_from(new_model(config.model)), BATCH, jax.random.key(1))
    return float(loss), state, trainer


def gradient(state):
    """All of it: what Adam's first moments are after one step, but for a factor of ten."""
    leaves = jax.tree.leaves(optax.tree_utils.tree_get(state.opt_state, "mu"))
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def assert_same_gradient(state, expected, tolerance):
    ours, theirs = gradient(state), gradient(expected)
    assert np.linalg.norm(ours - theirs) <= tolerance * np.linalg.norm(theirs)


@pytest.fixture(scope="module")
def plain():
    return one_step()


@pytest.mark.slow
def test_a_batch_in_parts_is_the_whole_batch(plain):
    """Where nothing is taken over the batch: the loss is a mean, and the CNN normalises by what it has loaded."""
    frozen = (r"^clfe\..*\.(mean|var)$",)
    expected_loss, expected, _ = one_step(frozen=frozen)
    loss, state, _ = one_step(frozen=frozen, accumulate=4)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert_same_gradient(state, expected, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_levels_are_ranked_beside_the_loss(accumulate):
    """Of four crops with a worse version each: the loss is of the four, and the weight is of the ranking."""
    options = {
        "frozen": (r"^clfe\..*\.(mean|var)$",),
        "ranked_levels": 1,
        "attention_dropout": 0.0,
        "head_dropout": 0.0,
    }
    found = [one_step(**options, accumulate=accumulate, ranking_weight=weight)[0] for weight in (0.0, 2.0)]
    model = new_model(settings.replace(CONFIG, model=SHALLOW).model)
    scores = model(jnp.asarray(BATCH["image"])).reshape(4, 2)
    assert found[0] == pytest.approx(float(jnp.mean(jnp.abs(scores[:, 0] - BATCH["target"][::2]))), rel=1e-4)
    assert found[1] - found[0] == pytest.approx(2 * float(ladder_loss(scores)), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_of_several_images_has_its_levels_ranked(accumulate):
    """Of two images two crops each, the first's with a worse version after each: six rows a group."""
    config = settings.replace(CONFIG, model=SHALLOW, crops_per_image=2, ranked_levels=1, ranked_every=2, batch_size=12)
    assert (config.images.rows_per_group, config.images.scored_rows) == (6, 8)
    options = {
        "frozen": (r"^clfe\..*\.(mean|var)$",),
        "ranked_levels": 1,
        "ranked_every": 3,
        "attention_dropout": 0.0,
        "head_dropout": 0.0,
    }
    found = [one_step(**options, accumulate=accumulate, ranking_weight=weight)[0] for weight in (0.0, 2.0)]
    scores = np.asarray(new_model(settings.replace(CONFIG, model=SHALLOW).model)(jnp.asarray(BATCH["image"])))
    scored = [0, 2, 3, 4, 6, 7]  # groups of four rows: a crop, its worse version, two crops
    assert found[0] == pytest.approx(np.mean(np.abs(scores[scored] - BATCH["target"][scored])), rel=1e-4)
    ladders = jnp.asarray(scores.reshape(2, 4)[:, :2])
    assert found[1] - found[0] == pytest.approx(2 * float(ladder_loss(ladders)), rel=1e-3)


@pytest.mark.slow
def test_parts_move_the_statistics_one_after_another(plain):
    _, state, trainer = one_step(accumulate=2)
    once = nnx.merge(trainer.graphdef, plain[1].params, plain[1].rest).clfe.bn1.mean[...]
    twice = nnx.merge(trainer.graphdef, state.params, state.rest).clfe.bn1.mean[...]
    # momentum .1 towards about the same means: 0.1 and 1 - 0.9 ** 2 of the way
    np.testing.assert_allclose(np.linalg.norm(twice) / np.linalg.norm(once), 1.9, rtol=0.05)


@pytest.mark.slow
def test_bfloat16_is_for_products_alone():
    expected_loss, expected, _ = one_step(loss="smooth_l1")  # the gradient of L1 jumps where an error is near 0
    loss, state, trainer = one_step(loss="smooth_l1", compute_dtype="bfloat16")
    assert loss != expected_loss
    assert loss == pytest.approx(expected_loss, rel=0.02)
    assert {leaf.dtype for leaf in jax.tree.leaves((state.params, state.rest))} == {np.dtype(np.float32)}
    assert_same_gradient(state, expected, 0.4)  # eight bits, through masks that flip and norms of four values
    # what predicts is the float32 network
    model = nnx.merge(trainer.graphdef, state.params, state.rest)
    *_, steps = model(BATCH["image"], return_intermediates=True)
    assert {leaf.dtype for leaf in jax.tree.leaves(steps)} == {np.dtype(np.float32)}


@pytest.mark.slow
def test_rematerialisation_keeps_less_and_takes_the_same_step(plain, capsys):
    """What is kept for the gradient is JAX's own account of it: XLA's CPU backend saves no memory by it."""

    def kept(*, recompute):
        model = abstract_model(SHALLOW)
        if recompute:
            recompute_blocks(model)
        graphdef, params, rest = split_model(model)

        def score(params, rest, images):
            return jnp.sum(nnx.merge(graphdef, params, rest, copy=True)(images, train=True))

        jax.ad_checkpoint.print_saved_residuals(score, params, rest, jax.ShapeDtypeStruct((8, 32, 32, 3), jnp.float32))
        lines = [line for line in capsys.readouterr().out.splitlines() if "from the argument" not in line]
        shapes = [re.match(r"\w+\[([\d,]*)\]", line) for line in lines]
        return sum(math.prod(map(int, filter(None, shape[1].split(",")))) for shape in shapes if shape)

    assert kept(recompute=True) < 0.7 * kept(recompute=False)
    expected_loss, expected, _ = plain
    loss, state, _ = one_step(remat=True)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert_same_gradient(state, expected, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("decay", "kept"), [(0.99, 0.1), (0.05, 0.05)])
def test_the_average_is_over_the_steps_there_are(plain, decay, kept):
    """After one step from p0 to p1: of p0 what ema_decay says, but no more than (1 + 0) / (10 + 0), the rest p1."""
    _, state, trainer = one_step(ema_decay=decay)
    start = jax.tree.leaves(split_model(new_model(SHALLOW))[1])
    after, averages = jax.tree.leaves(state.params), jax.tree.leaves(state.average)
    for first, second, average in zip(start, after, averages, strict=True):
        np.testing.assert_allclose(average, kept * first + (1 - kept) * second, rtol=1e-5, atol=1e-8)
    assert state.evaluated is state.average
    assert plain[1].evaluated is plain[1].params
    state, _ = trainer.step(state, BATCH, jax.random.key(1))
    assert not np.array_equal(jax.tree.leaves(state.average)[0], averages[0])


def test_a_gradient_that_is_not_finite_shows_in_the_loss(monkeypatch):
    """The loss is 0 here, and the square root's slope at 0 is infinite."""
    monkeypatch.setitem(LOSSES, "l1", Loss(lambda predicted, target: jnp.sum(jnp.sqrt(0.0 * predicted))))
    assert np.isnan(one_step()[0])
