"""A model where JAX or this package is not: the same scores, and a file that says what it is."""

import datetime
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from conftest import write_images

from glintiqa_jax.cli.main import main
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.errors import InputError
from glintiqa_jax.exporting import load_exported
from glintiqa_jax.models.config import variant_config
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.models.weights import export_glintiqa
from glintiqa_jax.scoring.card import ModelCard, View
from glintiqa_jax.scoring.model import Model

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto" / "export.md"
NETWORK = variant_config("glintiqa_tiny", tapped_blocks=(0, 1))
CARD = ModelCard(NETWORK, ScoreScale(0.0, 100.0, lower_is_better=True, unit="DMOS"), View(max_short_side=50, grid=2))


@pytest.fixture(scope="module")
def model():
    return Model(new_model(NETWORK), CARD)


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    model.export(path)
    return path


def crops(count):
    return np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), np.uint8)


def howto(folder, title, *arguments):
    """What a page's program prints, run as it stands there, without what it says that it does not need."""
    _, _, block = HOWTO.read_text(encoding="utf-8").partition(f"## {title}\n")
    program = re.search("```python\n(.*?)```", block, flags=re.DOTALL)[1]
    absent = ("glintiqa_jax", "flax", "torch", *(() if title == "StableHLO" else ("jax",)))
    program += f"\nassert not {set(absent)} & set(sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_onnx_gives_a_photographs_score_without_jax(model, onnx_file, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra test")
    names = write_images(tmp_path, 3, size=(60, 80))
    paths = [str(tmp_path / name) for name in names]
    printed = howto(onnx_file.parent, "ONNX", *paths)
    expected = [model.score(path).value for path in paths]
    np.testing.assert_allclose(list(map(float, printed[::2])), expected, atol=1e-4 * 100)
    assert printed[1::2] == paths


def test_onnx_is_of_any_batch_and_says_what_it_is(model, onnx_file):
    onnx = pytest.importorskip("onnx", reason="needs the extra export")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra test")
    session = onnxruntime.InferenceSession(onnx_file)
    for count in (1, 5):
        (scores,) = session.run(["scores"], {"crops": crops(count)})
        np.testing.assert_allclose(scores, CARD.to_scale(model._said(crops(count))), atol=1e-4 * 100)
    content = onnx.load(onnx_file)
    onnx.checker.check_model(content, full_check=True)
    assert content.opset_import[0].version == 17
    said = {entry.key: entry.value for entry in content.metadata_props}
    assert ModelCard.from_json(json.loads(said["card"])) == CARD
    assert said["digest"] == model.digest
    assert "DMOS 0 to 100, lower is better" in said["output"]
    assert "shorter side is at most 50 pixels" in said["preprocessing"]
    assert {"vgfe.blocks.0.fc1.kernel", "head.fc2.kernel"} <= {one.name for one in content.graph.initializer}


@pytest.mark.parametrize(
    ("function", "operation"), [(jnp.sin, "sin"), (lambda x: x[:, ::-1] * x[0], "rev"), (jnp.cumsum, "cumsum")]
)
def test_an_operation_that_onnx_is_not_written_of_is_named(function, operation):
    pytest.importorskip("onnx", reason="needs the extra export")
    from glintiqa_jax.exporting.onnx_file import onnx_bytes

    (batch,) = jax.export.symbolic_shape("batch")
    with pytest.raises(InputError, match=rf"expected operations that .*, found {operation}: "):
        onnx_bytes(lambda _, x: function(x), {}, jax.ShapeDtypeStruct((batch, 4), np.float32), {})


def test_each_rule_computes_what_jax_computes():
    """Forms that the networks have on some platform or in some option alone, as a user's own backbone may."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra test")
    from glintiqa_jax.exporting.onnx_file import onnx_bytes

    def function(weights, x):
        x = x * jnp.tanh(weights["scale"]) - jnp.exp(-jnp.square(x)) / 3
        x = jnp.where(jnp.asarray([True, False, True, False])[:, None], x, jnp.minimum(x, 0.1))
        both = jnp.concatenate([x, jnp.broadcast_to(weights["scale"], x.shape)], axis=1)
        products = jnp.einsum("bij,bkj->bik", both, both[:, ::3]) + jnp.einsum("bij,jk->bik", both, weights["matrix"])
        grid = products[:, ::2, 1:3] + products[:, 1::2, 0:2]
        return jnp.sqrt(jax.nn.softmax(grid, axis=1).max(axis=(1, 2))) + jnp.pad(x, ((0, 0), (1, 0), (0, 2)))[:, 1, 0]

    weights = {"scale": np.float32([0.5, -1, 2]), "matrix": np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)}
    (batch,) = jax.export.symbolic_shape("batch")
    content = onnx_bytes(function, weights, jax.ShapeDtypeStruct((batch, 4, 3), np.float32), {})
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    (found,) = onnxruntime.InferenceSession(content).run(None, {"crops": x})
    np.testing.assert_allclose(found, jax.jit(function)(weights, x), atol=1e-5)


def test_stablehlo_gives_the_scores_without_this_package_until_it_expires(model, tmp_path, monkeypatch):
    path = tmp_path / "model.stablehlo"
    model.export(path)
    expected = CARD.to_scale(model._said(crops(3)))
    np.save(tmp_path / "crops.npy", crops(3))
    printed = howto(tmp_path, "StableHLO", "crops.npy")
    np.testing.assert_allclose(list(map(float, printed)), expected, atol=1e-4 * 100)

    exported = load_exported(path)
    np.testing.assert_allclose(exported(crops(3)), expected, atol=1e-4 * 100)
    assert exported.said["digest"] == model.digest
    assert list(exported.said["platforms"]) == ["cpu", "cuda", "tpu"]

    beside = tmp_path / "model.stablehlo.json"
    said = json.loads(beside.read_text())
    assert datetime.date.fromisoformat(said["expires"]) > datetime.date.today() + datetime.timedelta(days=170)
    beside.write_text(json.dumps(said | {"expires": "2020-01-31"}))
    with pytest.raises(
        InputError, match=r"model\.stablehlo: .* found one that expired on 2020-01-31.*; export the model"
    ):
        load_exported(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"expected the program that model\.stablehlo\.json is about"):
        load_exported(path)
    beside.unlink()
    with pytest.raises(InputError, match=r"model\.stablehlo\.json: expected an exported model, found No such file"):
        load_exported(path)


def test_the_command_exports_a_models_folder(model, tmp_path, capsys):
    model.save(tmp_path / "saved")
    main(["export", f"{tmp_path}/saved", "-o", f"{tmp_path}/weights.safetensors"])
    assert "safetensors of <Model " in capsys.readouterr().out
    written = safetensors.numpy.load_file(tmp_path / "weights.safetensors")
    expected = export_glintiqa(model.network)
    assert all(np.array_equal(written[name], expected[name]) for name in written.keys() | expected.keys())
    for arguments, message in [
        (["-o", f"{tmp_path}/x.pb"], "x.pb: expected a file ending with .onnx, .stablehlo, .safetensors; or --format"),
        (["-o", f"{tmp_path}/no/x.onnx"], "expected a file in an existing folder"),
        (["nowhere", "-o", f"{tmp_path}/x.onnx"], "nowhere"),
        (["one", "two", "-o", f"{tmp_path}/x.onnx"], "expected one model, found 2"),
    ]:
        with pytest.raises(SystemExit, match=r"^2$"):
            main(["export", *arguments])
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
