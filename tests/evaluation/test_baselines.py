"""Baselines of the same images: which way they point, and that nothing is computed twice."""

import csv
import dataclasses
import importlib
import math
import sys

import cv2
import numpy as np
import pytest

from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.own import read_csv
from glintiqa_jax.data.records import RecordSource
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation import baselines
from glintiqa_jax.evaluation.baselines import BASELINES, baseline_values, cache_path, check_baselines

PACKAGES = {"brisque": "brisque"}  # what a baseline needs beside our own dependencies


@pytest.fixture
def source(rated_folder, tmp_path):
    return RecordSource(prepare(read_csv(*rated_folder(6), score_range=(0, 100)), tmp_path / "data"))


@pytest.fixture
def counted(monkeypatch):
    """Two baselines, the mean and the negative of the largest value, and the images that each was asked for."""
    seen = {"mean": [], "peak": [], "stopped after": math.inf}

    def load(name, measure):
        def count(image):
            if len(seen[name]) >= seen["stopped after"]:
                raise KeyboardInterrupt
            seen[name].append(image)
            return measure(image)

        return lambda: count

    row = BASELINES["laplacian_variance"]
    monkeypatch.setitem(BASELINES, "mean", dataclasses.replace(row, load=load("mean", np.mean)))
    worse = dataclasses.replace(row, load=load("peak", np.max), higher_is_better=False)
    monkeypatch.setitem(BASELINES, "peak", worse)
    return seen


def scene(size=256):
    """Squares of many sizes with a little noise: edges and plain areas, as in photographs."""
    rng = np.random.default_rng(0)
    picture = np.zeros((size, size, 3), np.uint8)
    for _ in range(400):
        (left, top), side = rng.integers(0, size, 2), int(size / rng.uniform(3, 60))
        cv2.rectangle(picture, (int(left), int(top)), (int(left) + side, int(top) + side), rng.uniform(0, 255, 3), -1)
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def table(source, folder):
    """The cache's rows; of each column's name what is before the identity."""
    with cache_path(source, folder).open(newline="") as file:
        return [{name.split()[0]: value for name, value in row.items()} for row in csv.DictReader(file)]


def column(name):
    return f"{name} {BASELINES[name].identity()[:12]}"


def loaded(name):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason="a baseline of the extra 'baselines'")
    return BASELINES[name].load()


def test_a_plain_image_has_no_laplacian():
    assert loaded("laplacian_variance")(np.full((40, 50, 3), 77, np.uint8)) == 0


@pytest.mark.parametrize("name", BASELINES)
def test_more_blur_is_worse(name):
    measure, picture = loaded(name), scene()
    said = [measure(cv2.GaussianBlur(picture, (0, 0), sigma)) for sigma in (1.0, 2.0, 4.0, 8.0)]
    order = np.diff(said) * (1 if BASELINES[name].higher_is_better else -1)
    assert np.isfinite(said).all()
    assert (order < 0).all(), said


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (13, 300), (300, 7), (64, 64)])
@pytest.mark.parametrize("name", BASELINES)
def test_small_and_plain_images_are_no_error(name, shape):
    value = loaded(name)(np.full((*shape, 3), 128, np.uint8))
    assert value == 0 if name == "laplacian_variance" else math.isnan(value)


def test_brisque_is_what_its_package_gives():
    """Only two things differ: that nothing is unpickled, and that NumPy 2.4 and later can be used."""
    brisque = pytest.importorskip("brisque", reason="a baseline of the extra 'baselines'")

    class Packaged(brisque.BRISQUE):
        def scale_features(self, features):
            return super().scale_features([np.ravel(feature)[0] for feature in features])

    assert loaded("brisque")(scene()) == pytest.approx(Packaged().score(scene()), rel=1e-9)  # sums in any order


def test_values_are_of_the_images_asked_for_and_higher_is_better(source, counted, tmp_path):
    positions = np.asarray([4, 0, 2])
    values = baseline_values(source, positions, ["mean", "peak"], tmp_path, progress="baselines")
    images = [source[position]["image"] for position in positions]
    np.testing.assert_array_equal(values["mean"], [image.mean() for image in images])
    np.testing.assert_array_equal(values["peak"], [-float(image.max()) for image in images])
    assert values["mean"].dtype == values["peak"].dtype == np.float64
    rows = table(source, tmp_path)
    assert [row["name"] for row in rows] == [source.index.names[position] for position in positions]
    assert [float(row["peak"]) for row in rows] == [image.max() for image in images]  # as the baseline gives it


def test_an_image_is_decoded_once_for_all_baselines(source, counted, tmp_path, monkeypatch):
    decoded, read = [], RecordSource.__getitem__
    monkeypatch.setattr(RecordSource, "__getitem__", lambda self, p: (decoded.append(p), read(self, p))[1])
    baseline_values(source, np.arange(6), ["mean", "peak", "laplacian_variance"], tmp_path)
    assert decoded == list(range(6))


def test_nothing_is_computed_twice(source, counted, tmp_path):
    first = baseline_values(source, np.arange(6), ["mean", "peak"], tmp_path)
    path = cache_path(source, tmp_path)
    content = path.read_bytes()
    again = baseline_values(source, np.arange(6), ["mean", "peak"], tmp_path)
    assert len(counted["mean"]) == len(counted["peak"]) == 6
    assert path.read_bytes() == content
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)  # to the last digit


def test_a_file_is_completed_and_what_it_holds_is_kept(source, counted, tmp_path):
    path, names = cache_path(source, tmp_path), source.index.names
    header = f"name,sharpness,{column('mean')}"
    path.write_text(f"{header}\nelsewhere.png,1.5,3.0\n{names[1]},,100.25\n{names[2]},7.0,\n")
    values = baseline_values(source, np.arange(3), ["mean", "peak"], tmp_path)
    assert values["mean"][1] == 100.25
    assert (len(counted["mean"]), len(counted["peak"])) == (2, 3)
    rows = {row["name"]: row for row in table(source, tmp_path)}
    assert rows["elsewhere.png"] == {"name": "elsewhere.png", "sharpness": "1.5", "mean": "3.0", "peak": ""}
    assert rows[names[2]]["sharpness"] == "7.0"
    assert {name: float(rows[name]["mean"]) for name in names[:3]} == dict(zip(names, values["mean"], strict=False))


def test_a_baseline_whose_code_has_changed_is_computed_anew(source, tmp_path, monkeypatch):
    """Comments are no code; what the other code said stays in the file, in its own column."""
    asked, file = [], tmp_path / "own_baseline.py"
    monkeypatch.syspath_prepend(tmp_path)

    def values(code):
        file.write_text(f"def load():\n    return lambda image: asked.append(1) or {code}\n")
        importlib.invalidate_caches()
        sys.modules.pop("own_baseline", None)
        module = importlib.import_module("own_baseline")
        module.asked = asked
        row = dataclasses.replace(BASELINES["laplacian_variance"], load=module.load)
        monkeypatch.setitem(BASELINES, "own", row)
        return baseline_values(source, np.arange(2), ["own"], tmp_path)["own"].tolist(), len(asked)

    assert values("1.0") == ([1.0, 1.0], 2)
    assert values("1.0  # as before") == ([1.0, 1.0], 2)
    assert values("20.0") == ([20.0, 20.0], 4)
    assert values("1.0") == ([1.0, 1.0], 4)


def test_a_call_that_was_interrupted_resumes(source, counted, tmp_path):
    counted["stopped after"] = 2
    with pytest.raises(KeyboardInterrupt):
        baseline_values(source, np.arange(6), ["mean", "peak"], tmp_path)
    assert [bool(row["peak"]) for row in table(source, tmp_path)] == [True, True]
    counted["stopped after"] = math.inf
    values = baseline_values(source, np.arange(6), ["mean", "peak"], tmp_path)
    assert len(counted["mean"]) == len(counted["peak"]) == 6
    assert np.isfinite(values["mean"]).all()


def test_values_are_saved_on_the_way(source, counted, tmp_path, monkeypatch):
    """Where a process is killed outright, what was saved on the way is what remains."""
    monkeypatch.setattr(baselines, "_SECONDS_BETWEEN_SAVES", 0)
    found = []

    def measure(image):
        found.append(len(table(source, tmp_path)) if cache_path(source, tmp_path).exists() else 0)
        return 1.0

    monkeypatch.setitem(BASELINES, "mean", dataclasses.replace(BASELINES["mean"], load=lambda: measure))
    baseline_values(source, np.arange(4), ["mean"], tmp_path)
    assert found == [0, 1, 2, 3]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_none_stays_none(source, tmp_path, monkeypatch, value):
    asked = []

    def measure(image):
        asked.append(image)
        return value if len(asked) == 2 else 1.0

    row = dataclasses.replace(BASELINES["laplacian_variance"], load=lambda: measure, higher_is_better=False)
    monkeypatch.setitem(BASELINES, "rarely", row)
    for _ in range(2):
        found = baseline_values(source, np.arange(3), ["rarely"], tmp_path)["rarely"]
        np.testing.assert_array_equal(found, [-1.0, math.nan, -1.0])
    assert len(asked) == 3


def test_several_databases_keep_their_images_apart(rated_folder, tmp_path, counted):
    collection = read_csv(*rated_folder(6), score_range=(0, 100))
    parts = [
        RecordSource(prepare(dataclasses.replace(collection, name=name), tmp_path / "data"))
        for name in ("one", "other")
    ]
    mixture = MixedSource(parts, [1, 1])
    values = baseline_values(mixture, np.arange(12), ["mean"], tmp_path)["mean"]
    np.testing.assert_array_equal(values[:6], values[6:])
    assert len({row["name"] for row in table(mixture, tmp_path)}) == 12


def test_no_image_and_no_baseline_are_no_work(source, tmp_path):
    assert baseline_values(source, np.arange(6), [], tmp_path) == {}
    values = baseline_values(source, np.arange(0), ["laplacian_variance"], tmp_path)
    assert values["laplacian_variance"].shape == (0,)
    assert not cache_path(source, tmp_path).exists()


def test_an_unknown_baseline_is_refused_before_anything_starts():
    check_baselines(["laplacian_variance"])
    with pytest.raises(InputError, match="baselines: expected names of laplacian_variance, brisque, found 'nicke'"):
        check_baselines(["laplacian_variance", "nicke"])


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "brisque", None)
    with pytest.raises(InputError, match=r"baselines=brisque: .*brisque.*pip install 'glintiqa-jax\[baselines\]'"):
        check_baselines(["brisque"])


def test_values_that_are_there_need_no_package(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "brisque", None)
    cache_path(source, tmp_path).write_text(f"name,{column('brisque')}\n{source.index.names[3]},21.5\n")
    assert baseline_values(source, np.asarray([3]), ["brisque"], tmp_path)["brisque"] == [-21.5]


@pytest.mark.parametrize("content", ["name,mean\nimage00.png,much\n", "image,mean\nimage00.png,1\n", ""])
def test_another_file_is_refused(source, counted, tmp_path, content):
    path = cache_path(source, tmp_path)
    path.write_text(content)
    with pytest.raises(InputError, match=r"baselines_.*\.csv.*expected"):
        baseline_values(source, np.arange(3), ["mean"], tmp_path)
    assert path.read_text() == content
