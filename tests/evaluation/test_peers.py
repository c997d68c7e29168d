"""Simple measures of the same images: which way they point, and that nothing is computed twice."""

import csv
import dataclasses
import math
import sys

import cv2
import numpy as np
import pytest

from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.own import read_csv
from glintiqa_jax.data.records import RecordSource
from glintiqa_jax.errors import UserError
from glintiqa_jax.evaluation import peers
from glintiqa_jax.evaluation.peers import PEERS, check_peers, peer_values

PACKAGES = {"brisque": "brisque"}  # what a peer needs beside our own dependencies


@pytest.fixture
def source(rated_folder, tmp_path):
    return RecordSource(prepare(read_csv(*rated_folder(6), score_range=(0, 100)), tmp_path / "data"))


@pytest.fixture
def counted(monkeypatch):
    """Two peers, the mean and the negative of the largest value, and the images that each was asked for."""
    seen = {"mean": [], "peak": []}

    def load(name, measure):
        def count(image):
            seen[name].append(image)
            return measure(image)

        return lambda: count

    peer = PEERS["laplacian_variance"]
    monkeypatch.setitem(PEERS, "mean", dataclasses.replace(peer, load=load("mean", np.mean)))
    worse = dataclasses.replace(peer, load=load("peak", np.max), higher_is_better=False)
    monkeypatch.setitem(PEERS, "peak", worse)
    return seen


def scene(size=256):
    """Squares of many sizes with a little noise: edges and plain areas, as in photographs."""
    rng = np.random.default_rng(0)
    picture = np.zeros((size, size, 3), np.uint8)
    for _ in range(400):
        (left, top), side = rng.integers(0, size, 2), int(size / rng.uniform(3, 60))
        cv2.rectangle(picture, (int(left), int(top)), (int(left) + side, int(top) + side), rng.uniform(0, 255, 3), -1)
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def loaded(name):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason="a peer of the extra 'peers'")
    return PEERS[name].load()


def test_a_plain_image_has_no_laplacian():
    assert loaded("laplacian_variance")(np.full((40, 50, 3), 77, np.uint8)) == 0


@pytest.mark.parametrize("name", PEERS)
def test_more_blur_is_worse(name):
    measure, picture = loaded(name), scene()
    said = [measure(cv2.GaussianBlur(picture, (0, 0), sigma)) for sigma in (1.0, 2.0, 4.0, 8.0)]
    order = np.diff(said) * (1 if PEERS[name].higher_is_better else -1)
    assert np.isfinite(said).all()
    assert (order < 0).all(), said


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (13, 300), (300, 7), (64, 64)])
@pytest.mark.parametrize("name", PEERS)
def test_small_and_plain_images_are_no_error(name, shape):
    value = loaded(name)(np.full((*shape, 3), 128, np.uint8))
    assert value == 0 if name == "laplacian_variance" else math.isnan(value)


def test_brisque_is_what_its_package_gives():
    """Only two things differ: that nothing is unpickled, and that NumPy 2.4 and later can be used."""
    brisque = pytest.importorskip("brisque", reason="a peer of the extra 'peers'")

    class Packaged(brisque.BRISQUE):
        def scale_features(self, features):
            return super().scale_features([np.ravel(feature)[0] for feature in features])

    assert loaded("brisque")(scene()) == Packaged().score(scene())


def test_values_are_of_the_images_asked_for_and_higher_is_better(source, counted, tmp_path):
    positions = np.asarray([4, 0, 2])
    values = peer_values(source, positions, ["mean", "peak"], tmp_path / "peers.csv", progress="simple measures")
    images = [source[position]["image"] for position in positions]
    np.testing.assert_array_equal(values["mean"], [image.mean() for image in images])
    np.testing.assert_array_equal(values["peak"], [-float(image.max()) for image in images])
    assert values["mean"].dtype == values["peak"].dtype == np.float64
    rows = table(tmp_path / "peers.csv")
    assert [row["name"] for row in rows] == [source.index.names[position] for position in positions]
    assert [float(row["peak"]) for row in rows] == [image.max() for image in images]  # as the peer gives it


def test_an_image_is_decoded_once_for_all_peers(source, counted, tmp_path, monkeypatch):
    decoded, read = [], RecordSource.__getitem__
    monkeypatch.setattr(RecordSource, "__getitem__", lambda self, p: (decoded.append(p), read(self, p))[1])
    peer_values(source, np.arange(6), ["mean", "peak", "laplacian_variance"], tmp_path / "peers.csv")
    assert decoded == list(range(6))


def test_nothing_is_computed_twice(source, counted, tmp_path):
    first = peer_values(source, np.arange(6), ["mean", "peak"], tmp_path / "peers.csv")
    content = (tmp_path / "peers.csv").read_bytes()
    again = peer_values(source, np.arange(6), ["mean", "peak"], tmp_path / "peers.csv")
    assert len(counted["mean"]) == len(counted["peak"]) == 6
    assert (tmp_path / "peers.csv").read_bytes() == content
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)  # to the last digit


def test_a_file_is_completed_and_what_it_holds_is_kept(source, counted, tmp_path):
    path, names = tmp_path / "peers.csv", source.index.names
    path.write_text(f"name,sharpness,mean\nelsewhere.png,1.5,3.0\n{names[1]},,100.25\n{names[2]},7.0,\n")
    values = peer_values(source, np.arange(3), ["mean", "peak"], path)
    assert values["mean"][1] == 100.25
    assert (len(counted["mean"]), len(counted["peak"])) == (2, 3)
    rows = {row["name"]: row for row in table(path)}
    assert rows["elsewhere.png"] == {"name": "elsewhere.png", "sharpness": "1.5", "mean": "3.0", "peak": ""}
    assert rows[names[2]]["sharpness"] == "7.0"
    assert {name: float(rows[name]["mean"]) for name in names[:3]} == dict(zip(names, values["mean"], strict=False))


def test_a_call_that_was_interrupted_goes_on(source, counted, tmp_path, monkeypatch):
    def stopped(image):
        if len(counted["peak"]) == 2:
            raise KeyboardInterrupt
        return original(image)

    peer, original = PEERS["peak"], PEERS["peak"].load()
    with monkeypatch.context() as patched:
        patched.setitem(PEERS, "peak", dataclasses.replace(peer, load=lambda: stopped))
        with pytest.raises(KeyboardInterrupt):
            peer_values(source, np.arange(6), ["mean", "peak"], tmp_path / "peers.csv")
    assert [bool(row["peak"]) for row in table(tmp_path / "peers.csv")] == [True, True, False]
    values = peer_values(source, np.arange(6), ["mean", "peak"], tmp_path / "peers.csv")
    assert len(counted["mean"]) == len(counted["peak"]) == 6
    assert np.isfinite(values["mean"]).all()


def test_values_are_saved_on_the_way(source, counted, tmp_path, monkeypatch):
    """Where a process is killed outright, what was saved on the way is what remains."""
    monkeypatch.setattr(peers, "_SECONDS_BETWEEN_SAVES", 0)
    found = []

    def measure(image):
        found.append(len(table(tmp_path / "peers.csv")) if (tmp_path / "peers.csv").exists() else 0)
        return 1.0

    monkeypatch.setitem(PEERS, "mean", dataclasses.replace(PEERS["mean"], load=lambda: measure))
    peer_values(source, np.arange(4), ["mean"], tmp_path / "peers.csv")
    assert found == [0, 1, 2, 3]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_none_stays_none(source, tmp_path, monkeypatch, value):
    asked = []

    def measure(image):
        asked.append(image)
        return value if len(asked) == 2 else 1.0

    peer = dataclasses.replace(PEERS["laplacian_variance"], load=lambda: measure, higher_is_better=False)
    monkeypatch.setitem(PEERS, "rarely", peer)
    for _ in range(2):
        found = peer_values(source, np.arange(3), ["rarely"], tmp_path / "peers.csv")["rarely"]
        np.testing.assert_array_equal(found, [-1.0, math.nan, -1.0])
    assert len(asked) == 3


def test_several_databases_keep_their_images_apart(rated_folder, tmp_path, counted):
    collection = read_csv(*rated_folder(6), score_range=(0, 100))
    parts = [
        RecordSource(prepare(dataclasses.replace(collection, name=name), tmp_path / "data"))
        for name in ("one", "other")
    ]
    values = peer_values(MixedSource(parts, [1, 1]), np.arange(12), ["mean"], tmp_path / "peers.csv")["mean"]
    np.testing.assert_array_equal(values[:6], values[6:])
    assert len({row["name"] for row in table(tmp_path / "peers.csv")}) == 12


def test_no_image_and_no_peer_are_no_work(source, tmp_path):
    assert peer_values(source, np.arange(6), [], tmp_path / "peers.csv") == {}
    values = peer_values(source, np.arange(0), ["laplacian_variance"], tmp_path / "peers.csv")
    assert values["laplacian_variance"].shape == (0,)
    assert not (tmp_path / "peers.csv").exists()


def test_an_unknown_peer_is_refused_before_anything_starts():
    check_peers(["laplacian_variance"])
    with pytest.raises(UserError, match="--peers: expected names of laplacian_variance, brisque, found 'nicke'"):
        check_peers(["laplacian_variance", "nicke"])


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "brisque", None)
    with pytest.raises(UserError, match=r"--peers=brisque: .*brisque.*pip install 'glintiqa-jax\[peers\]'"):
        check_peers(["brisque"])


def test_values_that_are_there_need_no_package(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "brisque", None)
    (tmp_path / "peers.csv").write_text(f"name,brisque\n{source.index.names[3]},21.5\n")
    assert peer_values(source, np.asarray([3]), ["brisque"], tmp_path / "peers.csv")["brisque"] == [-21.5]


@pytest.mark.parametrize("content", ["name,mean\nimage00.png,much\n", "image,mean\nimage00.png,1\n", ""])
def test_another_file_is_refused(source, counted, tmp_path, content):
    path = tmp_path / "peers.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=r"peers\.csv.*expected"):
        peer_values(source, np.arange(3), ["mean"], path)
    assert path.read_text() == content
