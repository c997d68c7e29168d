"""What was measured is there once, whatever interrupted the run: in ``metrics.jsonl``, and for TensorBoard."""

import json
import shutil
import struct
from pathlib import Path

import pytest

from glintiqa_jax.training.metrics_log import MetricsLog, read_metrics

pytest_plugins = ["small_runs"]
pytestmark = [
    pytest.mark.compiled_for_users,
    pytest.mark.usefixtures("one_device"),
    pytest.mark.filterwarnings("ignore:.*is undefined"),  # four test images may all get one prediction
]


def test_a_line_that_was_not_finished_is_none(tmp_path):
    rows = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 3, "lo')
    assert read_metrics(tmp_path) == rows
    MetricsLog(tmp_path, 2).close()
    assert path.read_text() == "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.slow
def test_a_torn_log_is_gone_on_from(small, whole, stopped):
    path = stopped / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 7, "loss')
    assert small.train(stopped) == whole
    assert [row["step"] for row in read_metrics(stopped) if "validation" in row] == [3, 6, 8]


def events(workdir):
    """What TensorBoard shows: tags, steps and numbers. A record is a length, its checksum, the event, its checksum."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    (path,) = (workdir / "tensorboard").iterdir()
    content, position, found = path.read_bytes(), 0, []
    while position < len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        event = event_pb2.Event.FromString(content[position + 12 : position + 12 + length])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        position += 12 + length + 4
    return found


@pytest.mark.parametrize("lost", [(7,), (6, 7)], ids=["gone on", "started over"])
def test_tensorboard_shows_each_step_once_after_a_run_has_gone_on(small, stopped, capsys, lost):
    pytest.importorskip("tensorboardX")
    before = events(stopped)
    assert {step for _, step, _ in before} == {3, 6}
    for step in lost:
        shutil.rmtree(stopped / "checkpoints" / str(step))
    small.train(stopped)
    assert ("continuing from step" in capsys.readouterr().out) == (6 not in lost)
    shown = events(stopped)
    assert len({(tag, step) for tag, step, _ in shown}) == len(shown)
    losses = {row["step"]: row["loss"] for row in read_metrics(stopped) if "loss" in row}
    assert {step: loss for tag, step, loss in shown if tag == "loss"} == pytest.approx(losses)
    assert {step for tag, step, _ in shown if tag == "validation/srocc"} == {3, 6, 8}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, which is Linux's")
def test_a_full_disk_ends_tensorboards_writing_too(tmp_path):
    """Its own writer would go on without a word until its queue is full, and then wait forever."""
    record_writer = pytest.importorskip("tensorboardX.record_writer")
    log = MetricsLog(tmp_path, 0)
    log.close()
    log._board._records = record_writer.RecordWriter("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        log.write({"step": 1, "loss": 0.5})
    with pytest.raises(OSError, match="No space left on device"):
        log.close()
