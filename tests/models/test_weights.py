"""Every layout in gives the same score; what does not fit is listed; what goes out comes back bit for bit."""

import functools
import re

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx
from layouts import branch, google, hugging_face, legacy
from reference import tensor
from torch_checkpoints import write

from glintiqa_jax.models.backbones.vit import resized_patches, resized_positions
from glintiqa_jax.models.config import variant_config
from glintiqa_jax.models.files import WeightsError, read_weights
from glintiqa_jax.models.glintiqa import abstract_model, create_model, new_model
from glintiqa_jax.models.weights import export_glintiqa, load_backbone, load_glintiqa

TINY = "glintiqa_tiny"


@functools.cache
def official() -> dict[str, np.ndarray]:
    """The reference's random weights for a tiny network, in the official layout, unused parts included."""
    shapes = {name: array.shape for name, array in export_glintiqa(create_model(TINY)).items()}
    return {name: tensor(name, shape) for name, shape in shapes.items()}


VIT = functools.partial(branch, prefix="vgfe.backbone.")
RESNET = functools.partial(branch, prefix="clfe.backbone.")


@nnx.jit
def forward(model, images):
    return model(images)


def score(model) -> np.ndarray:
    return np.asarray(forward(model, np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)))


@functools.cache
def expected() -> np.ndarray:
    model = create_model(TINY)
    load_glintiqa(model, official())
    return score(model)


def model_without(prefix: str):
    """A model with the official weights, but for those of one branch."""
    model = create_model(TINY, seed=9)
    other = export_glintiqa(model)
    load_glintiqa(model, {k: other[k] if k.startswith(prefix) else v for k, v in official().items()})
    assert np.abs(score(model) - expected()).max() > 1e-3
    return model


def save(weights, kind, path):
    if kind == "npz":
        np.savez(path, **weights)
        return path.with_name(path.name + ".npz")
    if kind == "safetensors":
        safetensors.numpy.save_file({k: np.ascontiguousarray(v) for k, v in weights.items()}, path)
    else:
        write(path, {"epoch": 3, "best_srocc": np.float64(0.9), "state_dict": weights}, kind)
    return path


@pytest.mark.parametrize("kind", ["mapping", "npz", "safetensors", "zip", "legacy"])
@pytest.mark.parametrize("names", [dict, legacy], ids=["current", "legacy_names"])
def test_official_checkpoints(tmp_path, kind, names):
    weights = {name: np.ascontiguousarray(array) for name, array in names(official()).items()}
    model = create_model(TINY, seed=3)
    source = weights if kind == "mapping" else save(weights, kind, tmp_path / "weights")
    assert load_backbone(model, source) == "GlintIQA"
    np.testing.assert_array_equal(score(model), expected())


@pytest.mark.parametrize(
    "layout",
    [VIT, lambda weights: google(VIT(weights), heads=2), lambda weights: hugging_face(VIT(weights))],
    ids=["timm", "google", "hugging_face"],
)
def test_vit_layouts(tmp_path, layout):
    for source in (layout(official()), save(layout(official()), "npz", tmp_path / "vit")):
        model = model_without("vgfe.")
        assert load_backbone(model, source) == "ViT"
        np.testing.assert_array_equal(score(model), expected())


def test_resnet_layout(tmp_path):
    extra = {"fc.weight": np.zeros((10, 8), np.float32), "layer4.0.conv1.weight": np.zeros((1, 1, 1, 1), np.float32)}
    model = model_without("clfe.backbone.")
    assert load_backbone(model, save(RESNET(official()) | extra, "zip", tmp_path / "resnet.pth")) == "ResNet"
    np.testing.assert_array_equal(score(model), expected())


def test_dinov2_as_hugging_face_names_it():
    vit = {name.removeprefix("vit."): array for name, array in hugging_face(VIT(official())).items()}
    for ours, theirs in (("layernorm_before", "norm1"), ("layernorm_after", "norm2")):
        vit = {name.replace(ours, theirs): array for name, array in vit.items()}
    vit |= {f"encoder.layer.{n}.layer_scale{i}.lambda1": np.ones(16, np.float32) for n in range(4) for i in (1, 2)}
    vit["embeddings.mask_token"] = np.zeros((1, 16), np.float32)
    model = model_without("vgfe.")
    assert load_backbone(model, vit) == "ViT"
    np.testing.assert_array_equal(score(model), expected())


def test_efficientnet_lite_goes_out_and_comes_back(tmp_path):
    model, copy, branch_only = (create_model("glintiqa_lite", seed=seed, crop_size=32) for seed in (0, 1, 2))
    weights = export_glintiqa(model)
    assert load_backbone(copy, save(weights, "npz", tmp_path / "lite")) == "GlintIQA"
    again = export_glintiqa(copy)
    assert all(weights[name].tobytes() == again[name].tobytes() for name in weights)
    head = {"_conv_head.weight": np.zeros((1, 1, 1, 1), np.float32), "_fc.bias": np.zeros(3, np.float32)}
    head["_blocks.15._bn0.weight"] = np.zeros(3, np.float32)
    assert load_backbone(branch_only, RESNET(weights) | head) == "EfficientNet-Lite0"
    for path, leaf in nnx.to_flat_state(nnx.state(branch_only.clfe)):
        expected_leaf = dict(nnx.to_flat_state(nnx.state(model.clfe)))[path]
        np.testing.assert_array_equal(leaf[...], expected_leaf[...])


def test_layer_scale_is_folded_in():
    """A block's branch times gamma, as DINOv2 has it, is the branch whose last layer is multiplied."""
    plain, scaled = VIT(official()), VIT(official())
    rng = np.random.default_rng(0)
    for block in range(4):
        for number, layer in ((1, "attn.proj"), (2, "mlp.fc2")):
            gamma = rng.uniform(0.5, 2, 16).astype(np.float32)
            scaled[f"blocks.{block}.ls{number}.gamma"] = gamma
            for part in ("weight", "bias"):
                name = f"blocks.{block}.{layer}.{part}"
                scaled[name] = plain[name] / (gamma[:, None] if part == "weight" else gamma)
    scaled["mask_token"] = np.zeros((1, 16), np.float32)
    model = model_without("vgfe.")
    load_backbone(model, scaled)
    np.testing.assert_allclose(score(model), expected(), rtol=1e-5)


def test_other_grids_and_patches_are_resized():
    vit = VIT(official())
    rng = np.random.default_rng(0)
    vit["pos_embed"] = rng.normal(size=(1, 1 + 37 * 37, 16)).astype(np.float32)
    vit["patch_embed.proj.weight"] = rng.normal(size=(16, 3, 14, 14)).astype(np.float32)
    model = create_model(TINY)
    load_backbone(model, vit)
    assert model.vgfe.pos_embed.shape == (1, 5, 16)
    np.testing.assert_array_equal(model.vgfe.pos_embed[0, 0], vit["pos_embed"][0, 0])


def test_a_smooth_position_embedding_keeps_its_values():
    y, x = np.meshgrid(np.linspace(-1, 1, 14), np.linspace(-1, 1, 14), indexing="ij")
    grid = np.stack([y, x, y * x], -1).reshape(1, 196, 3).astype(np.float32)
    embedding = np.concatenate([np.ones((1, 1, 3), np.float32), grid], axis=1)
    assert resized_positions(embedding, 196) is embedding
    small = resized_positions(embedding, 49)[0, 1:].reshape(7, 7, 3)
    # a place of the small grid lies between four of the large one
    np.testing.assert_allclose(small[3, 3], 0, atol=1e-5)
    np.testing.assert_allclose(small[2, 4], grid.reshape(7, 2, 7, 2, 3)[2, :, 4].mean((0, 1)), atol=2e-3)
    with pytest.raises(WeightsError, match="square grid"):
        resized_positions(embedding[:, :-1], 49)


def test_a_resized_patch_kernel_answers_as_the_old_one_did():
    kernel = np.random.default_rng(0).normal(size=(5, 3, 14, 14)).astype(np.float32)
    patch = np.random.default_rng(1).normal(size=(3, 14, 14)).astype(np.float32)
    resized = np.asarray(jax.image.resize(patch, (3, 16, 16), "bilinear", antialias=False))
    before = np.einsum("dcyx,cyx->d", kernel, patch)
    after = np.einsum("dcyx,cyx->d", resized_patches(kernel, 16), resized)
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)
    assert resized_patches(kernel, 14) is kernel


@pytest.mark.parametrize(
    "overrides",
    [{}, {"vit": None}, {"cnn": None}, {"embedded_stages": (2, 3)}, {"resnet_bottleneck": True}],
    ids=str,
)
def test_export_comes_back_bit_for_bit(overrides):
    model, copy = create_model(TINY, **overrides), create_model(TINY, seed=1, **overrides)
    weights = export_glintiqa(model)
    load_glintiqa(copy, weights)
    for (path, ours), (_, theirs) in zip(
        nnx.to_flat_state(nnx.state(model)), nnx.to_flat_state(nnx.state(copy)), strict=True
    ):
        np.testing.assert_array_equal(ours[...], theirs[...], err_msg=str(path))
    again = export_glintiqa(copy)
    assert weights.keys() == again.keys()
    assert all(weights[name].tobytes() == again[name].tobytes() for name in weights)


def test_export_has_every_official_key_and_shape():
    """Of the paper's network, so that PyTorch's strict loading takes it."""
    from reference import official_state_dict

    model = abstract_model(variant_config("glintiqa_s16_r50"))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), nnx.state(model))
    nnx.update(model, zeros)
    found = {name: array.shape for name, array in export_glintiqa(model).items()}
    assert found == {name: array.shape for name, array in official_state_dict().items()}
    assert sum(array.size for name, array in official_state_dict().items() if is_parameter(name)) == 45_136_573


def is_parameter(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def test_everything_that_does_not_fit_is_listed_and_nothing_is_loaded():
    weights = dict(official())
    del weights["siem2.conv.weight"]
    weights["extra.weight"] = np.zeros(3, np.float32)
    weights["clfe.backbone.conv1.weight"] = np.zeros((8, 3, 3, 3), np.float32)
    model = create_model(TINY)
    before = score(model)
    with pytest.raises(WeightsError) as caught:
        load_glintiqa(model, weights)
    message = str(caught.value)
    assert "missing 1: siem2.conv.weight" in message
    assert "unexpected 1: extra.weight" in message
    assert "misshaped 1: clfe.backbone.conv1.weight (8, 3, 3, 3) instead of (8, 3, 7, 7)" in message
    np.testing.assert_array_equal(score(model), before)


def test_a_block_that_is_used_may_not_be_missing_and_one_after_the_taps_may_be_there():
    weights = {name: array for name, array in VIT(official()).items() if not name.startswith("blocks.3.")}
    with pytest.raises(WeightsError, match=r"missing 12: blocks\.3\."):
        load_backbone(create_model(TINY), weights)


def test_another_crop_is_explained():
    with pytest.raises(WeightsError, match=r"CWSA ties a model to its crop: .* crops of 32 pixels, .* takes 48"):
        load_glintiqa(new_model(variant_config(TINY, crop_size=48)), official())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": np.zeros(1), "b": np.zeros(1)}, "expected weights of one of GlintIQA, ResNet, .*, ViT, found a, b"),
        ({"root_block/conv_root/kernel": np.zeros(1)}, "BiT ResNet: its group norms"),
        ({"params/conv_init/kernel": np.zeros(1)}, "strided convolutions pad one pixel beside"),
        ({"_conv_stem.weight": np.zeros(1)}, "no EfficientNet-Lite0 or .* branch to load"),
    ],
)
def test_other_networks_are_refused(weights, message):
    with pytest.raises(WeightsError, match=message):
        load_backbone(create_model(TINY), weights)


def test_absent_branches_are_refused():
    with pytest.raises(WeightsError, match="no ViT branch"):
        load_backbone(create_model(TINY, vit=None), VIT(official()))
    with pytest.raises(WeightsError, match="no ResNet branch"):
        load_backbone(create_model(TINY, cnn=None), RESNET(official()))


@pytest.mark.parametrize(
    "content", [b"", b"hello, I am no file of weights", b"PK\x03\x04 broken .npy", b"\x08" + b"\0" * 7 + b"{broken"]
)
def test_files_that_are_no_weights_are_refused(tmp_path, content):
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(str(path))):
        read_weights(path)
    with pytest.raises(WeightsError, match=r"nowhere\.pth: expected a file of weights"):
        read_weights(tmp_path / "nowhere.pth")


def test_a_pickled_npz_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", weights=np.array([{"a": 1}], object))
    with pytest.raises(WeightsError, match=r"a\.npz"):
        read_weights(tmp_path / "a.npz")
