"""What is heard of long work, and where: bars and messages for who looks on, warnings always, results never."""

import io
import logging
import sys

import pytest

from glintiqa_jax.progress import LOGGER, SILENT, TERMINAL


def heard(log, monkeypatch, stream: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    log.say("going on")
    log.warn("one is\nleft out")
    assert list(log.progress(range(3), desc="scoring")) == [0, 1, 2]
    with log.progress(total=3, desc="training", hidden=True) as bar:
        bar.update(3)
    return stream.getvalue()


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


class Cell(io.StringIO):
    """A notebook's."""

    __module__ = "ipykernel.iostream"


@pytest.mark.parametrize("stream", [Tty, Cell])
def test_who_looks_on_sees_all(stream, monkeypatch, capsys):
    said = heard(TERMINAL, monkeypatch, stream())
    assert said.startswith("going on\none is\\nleft out\n")
    assert "scoring: " in said
    assert "training" not in said
    assert capsys.readouterr().out == ""


def test_elsewhere_warnings_are_heard_and_the_rest_when_asked_for(monkeypatch):
    assert heard(TERMINAL, monkeypatch, io.StringIO()) == "one is\\nleft out\n"
    LOGGER.setLevel(logging.INFO)
    try:
        assert heard(TERMINAL, monkeypatch, io.StringIO()) == "going on\none is\\nleft out\n"
    finally:
        LOGGER.setLevel(logging.NOTSET)


def test_nothing_is_heard_of_the_silent(monkeypatch):
    assert heard(SILENT, monkeypatch, Tty()) == ""
