"""Every engine gives the rows of the local command, one for each image."""

import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import heard, write_images

from glintiqa_jax.cli.main import main
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.engines import SPARK_SCHEMA, ScoreFrames
from glintiqa_jax.models.config import variant_config
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.scoring.card import ModelCard, View
from glintiqa_jax.scoring.model import Model
from glintiqa_jax.scoring.rows import COLUMNS, Row

NETWORK = variant_config("glintiqa_tiny", tapped_blocks=(0,))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a saved model, images with a broken one among them, and their paths and rows."""
    folder = tmp_path_factory.mktemp("engines")
    model = Model(new_model(NETWORK), ModelCard(NETWORK, ScoreScale(0.0, 100.0), View(grid=1)))
    model.save(folder / "model")
    paths = [str(folder / "images" / name) for name in write_images(folder / "images", 12)]
    (folder / "images" / "image03.png").write_bytes(b"broken")
    scores = model.score_many(paths, errors="return")
    return folder, paths, [Row.of(path, score, model.digest) for path, score in zip(paths, scores, strict=True)]


def rows_of(table):
    """The rows of a data frame, by path."""
    values = table.astype(object).where(table.notna(), None).to_dict("records")
    return sorted((Row.read(row) for row in values), key=lambda row: row.path)


def assert_same(found, rows):
    """Of other processes, which compile for users: the same rows, and scores to the last digits."""
    for ours, theirs in zip(rows, found, strict=True):
        if ours.score is not None:
            assert theirs.score == pytest.approx(ours.score, abs=1e-4)
            theirs = dataclasses.replace(theirs, score=ours.score, percent=ours.percent)
        assert theirs == ours


def test_a_table_of_images_becomes_a_table_of_rows(world):
    pandas = pytest.importorskip("pandas", reason="needs the extra test")
    folder, paths, rows = world
    score = pickle.loads(pickle.dumps(ScoreFrames(folder / "model")))  # as engines send it
    table = pandas.DataFrame({"path": paths, "other": 1}, index=range(5, 17))
    found = score(table)
    assert list(found.columns) == list(COLUMNS)
    assert rows_of(found) == rows
    assert [rows_of(part) for part in score(iter([table[:4], table[4:]]))] == [rows[:4], rows[4:]]
    empty = score(table[:0])
    assert (len(empty), list(empty.dtypes)) == (0, list(found.dtypes))

    contents = [Path(path).read_bytes() for path in paths]
    table = pandas.DataFrame({"name": paths, "bytes": contents})
    found = rows_of(ScoreFrames(folder / "model", path="name", content="bytes")(table))
    assert [dataclasses.replace(row, error=None) for row in found] == [
        dataclasses.replace(row, error=None) for row in rows
    ]
    assert [row.path for row in found if row.error] == [paths[3]]
    assert SPARK_SCHEMA.startswith("schema int, path string, width int, height int, score double")


@pytest.mark.slow
def test_beam_is_asked_for_in_its_own_words(world, capsys):
    pytest.importorskip("apache_beam", reason="needs the extra beam")
    for flag, message in [
        ("--runner=NoRunner", "--beam_options=--runner=NoRunner: "),
        ("--beam_options=--mistyped=1", "--beam_options: expected flags of Beam's, found mistyped"),
    ]:
        with pytest.raises(SystemExit, match=r"^2$"):
            main(["score", f"--model={world[0]}/model", world[1][0], flag])
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--sort=worst", "--format=jsonl"]])
def test_beam_gives_the_rows_of_the_local_command(world, tmp_path, more):
    pytest.importorskip("apache_beam", reason="needs the extra beam")
    folder, _, _ = world
    command = ["score", f"--model={folder}/model", f"{folder}/images", f"{folder}/nowhere.png", *more]
    for output, runner in [("here", []), ("there", ["--runner=DirectRunner"])]:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from glintiqa_jax.cli.main import main; main()",
                *command,
                *runner,
                f"--output={tmp_path}/{output}",
            ],
            capture_output=True,
            text=True,
        )
        assert (done.returncode, heard(done.stderr)) == (3, ""), done.stderr
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"here", "there"}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_ray_data_gives_the_rows(world, monkeypatch):
    ray = pytest.importorskip("ray", reason="needs ray[data]")
    data = pytest.importorskip("ray.data", reason="needs ray[data]")
    folder, paths, rows = world
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        images = data.from_items([{"path": path} for path in paths])
        scored = images.map_batches(
            ScoreFrames,
            fn_constructor_args=[str(folder / "model")],
            batch_format="pandas",
            batch_size=5,
            concurrency=1,
        )
        assert_same(rows_of(scored.to_pandas()), rows)
    finally:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_spark_gives_the_rows(world, monkeypatch):
    sql = pytest.importorskip("pyspark.sql", reason="needs pyspark")
    folder, paths, rows = world
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    spark = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        images = spark.createDataFrame([(path,) for path in paths], "path string").repartition(2)
        scored = images.mapInPandas(ScoreFrames(folder / "model"), SPARK_SCHEMA)
        assert_same(rows_of(scored.toPandas()), rows)
    finally:
        spark.stop()
