"""Images in an object store, here one in memory, are scored by their addresses."""

import csv

import pytest
from conftest import write_images
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from glintiqa_jax.cli.main import main
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.walk import ImageStream
from glintiqa_jax.models.config import variant_config
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.scoring.card import ModelCard, View
from glintiqa_jax.scoring.model import Model


class Bucket(MemoryFileSystem):
    """What ``s3://`` opens here."""

    protocol = "s3"
    store = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    cachable = False

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("s3://").strip("/")

    def unstrip_protocol(self, name):
        return f"s3://{name.lstrip('/')}"


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setitem(_registry, "s3", Bucket)
    store = Bucket()
    for name in write_images(tmp_path, 3):
        store.pipe(f"s3://bucket/shots/{name}", (tmp_path / name).read_bytes())
    store.pipe("s3://bucket/shots/notes.txt", b"")
    return store


def test_a_file_a_folder_and_a_pattern(bucket):
    addresses = [f"s3://bucket/shots/image{n:02d}.png" for n in range(3)]
    for asked, expected in [
        ("s3://bucket/shots", [(address, "") for address in addresses]),
        ("s3://bucket/shots/*1.png", [(addresses[1], "")]),
        (addresses[2], [(addresses[2], "")]),
        ("s3://bucket/none/*.png", [("s3://bucket/none/*.png", "nothing there")]),
    ]:
        images = ImageStream([asked])
        assert list(images) == expected
        assert images.left_out == (asked == "s3://bucket/shots")


def test_scores_are_those_of_the_files(bucket, tmp_path):
    network = variant_config("glintiqa_tiny", tapped_blocks=(0,))
    model = Model(new_model(network), ModelCard(network, ScoreScale(0.0, 1.0), View(grid=1)))
    model.save(tmp_path / "model")
    with pytest.raises(SystemExit, match=r"^3$"):
        main(
            ["score", f"--model={tmp_path}/model", "s3://bucket/shots", "s3://bucket/x.png", "-o", f"{tmp_path}/o.csv"]
        )
    with (tmp_path / "o.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows][1:] == [
        f"s3://bucket/{name}" for name in ("shots/image01.png", "shots/image02.png", "x.png")
    ]
    assert float(rows[1]["score"]) == pytest.approx(model.score(tmp_path / "image01.png").value, abs=1e-6)
    assert rows[3]["error"]
