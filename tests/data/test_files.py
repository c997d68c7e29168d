"""An output is whole or not there, wherever it is, and nothing that was there is lost for it."""

import contextlib
import csv
import errno
import fcntl
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glintiqa_jax.data import files
from glintiqa_jax.data.files import Output, descriptor, open_output, write_csv, write_json, write_text
from glintiqa_jax.errors import InputError


def written(target: str | os.PathLike, text: str = "new") -> None:
    with open_output("output", target) as output:
        output.write(text.encode())


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old.csv"
    path.write_text("old")
    return path


def test_a_file_is_replaced_at_the_end_and_not_before(old):
    with open_output("output", old) as output:
        output.write(b"new")
        assert old.read_text() == "old"
    assert old.read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_error_what_was_there_is_there_and_nothing_else(old, error):
    with contextlib.suppress(error), open_output("output", old) as output:
        output.write(b"half")
        raise error
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_what_there_is_can_be_kept(old):
    with contextlib.suppress(KeyboardInterrupt), open_output("output", old) as output:
        output.write(b"half")
        output.keep()
        raise KeyboardInterrupt
    assert old.read_text() == "half"


def test_permissions_are_those_of_the_file_before_or_as_the_system_makes_files(old, tmp_path):
    old.chmod(0o640)
    written(old)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    (tmp_path / "usual").touch()
    written(tmp_path / "new.csv")
    assert (tmp_path / "new.csv").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("target", ["old.csv", "not_there_yet.csv"])
def test_a_link_stays_and_its_target_is_written(old, target):
    link = old.parent / "link.csv"
    link.symlink_to(target)
    written(link)
    assert link.is_symlink()
    assert (old.parent / target).read_text() == "new"


def test_what_is_no_regular_file_is_written_through(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    written(fifo)
    reader.join()
    assert read == ["new"]
    assert fifo.is_fifo()
    written("/dev/null")
    assert Path("/dev/null").is_char_device()


def test_a_descriptor_is_written_where_it_stands(tmp_path):
    """As the shell's >(command) and a redirected /dev/stdout are: what stands there already stays."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    assert [descriptor(path) for path in ("/dev/stdout", "/dev/stderr", "/proc/self/fd/7", "/dev/null")] == [
        1,
        2,
        7,
        None,
    ]
    assert descriptor(str(tmp_path / "link")) == 1
    with (tmp_path / "redirected").open("w") as file:
        file.write("before ")
        file.flush()
        written(f"/dev/fd/{file.fileno()}")
        file.write(" after")
    assert (tmp_path / "redirected").read_text() == "before new after"
    with (tmp_path / "redirected").open() as file, pytest.raises(InputError, match="not open for writing"):
        open_output("output", f"/dev/fd/{file.fileno()}")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "expected a file to write, found nothing"),
        (".", "expected a file, found a folder"),
        ("{folder}", "expected a file, found a folder"),
        ("{folder}/new.csv/", "expected a file, found a folder"),
        ("{folder}/link", "expected a file, found a folder"),
        ("{folder}/loop", "cannot be written"),
        ("{folder}/nowhere/scores.csv", "expected a file in an existing folder, found no folder .*nowhere"),
        ("{folder}/old.csv/scores.csv", "expected a file in an existing folder, found no folder .*old.csv"),
        ("/proc/scores.csv", "found no folder|cannot be written"),
        ("/dev/fd/999", "cannot be written"),
        ("{folder}/" + 300 * "n", "cannot be written"),
        ("gs://bucket/scores.csv", "expected a path of this machine"),
        ("file:///tmp/scores.csv", "write /tmp/scores.csv"),
        ("~nobody_of_this_name/scores.csv", "home folder"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused_at_once(old, target, message):
    (old.parent / "link").symlink_to(old.parent)
    (old.parent / "loop").symlink_to("loop")
    before = sorted(old.parent.iterdir())
    with pytest.raises(InputError, match=f"^output=?{target.split('/')[0].replace('{folder}', '')}.*{message}"):
        open_output("output", target.format(folder=old.parent))
    assert sorted(old.parent.iterdir()) == before


@contextlib.contextmanager
def as_another_user():
    """A folder of its own for a user who may not do everything, as root may."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        if os.geteuid() == 0:
            os.seteuid(65534)
            try:
                yield Path(folder)
            finally:
                os.seteuid(0)
        else:
            yield Path(folder)


def test_protected_files_and_folders_are_refused_at_once():
    with as_another_user() as folder:
        (folder / "protected.csv").write_text("old")
        (folder / "protected.csv").chmod(0o444)
        (folder / "closed").mkdir()
        (folder / "closed").chmod(0o555)
        for name in ("protected.csv", "closed/scores.csv"):
            with pytest.raises(InputError, match=r"cannot be written \(Permission denied"):
                open_output("output", folder / name)
        assert (folder / "protected.csv").read_text() == "old"
        (folder / "closed").chmod(0o755)


def test_a_file_that_may_be_written_but_not_replaced_is_written(old, monkeypatch):
    """As one that is mounted into a container."""

    def refuse(*_):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    inode = old.stat().st_ino
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        written(old)
    assert (old.read_text(), old.stat().st_ino) == ("new", inode)
    assert list(old.parent.iterdir()) == [old]


def test_an_input_is_no_output(old):
    link = old.parent / "link.csv"
    link.symlink_to(old)
    for target in (old, link, f"{old.parent}/./old.csv"):
        with pytest.raises(InputError, match=r"expected another file than what is read, found .*old\.csv"):
            open_output("output", target, inputs=["nowhere.csv", old])
    assert old.read_text() == "old"


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        written("/dev/full")


def test_two_outputs_of_one_name_do_not_mix(tmp_path):
    path = tmp_path / "scores.csv"
    with Output(path) as one:
        one.write(b"one")
        with Output(path) as other:
            other.write(b"the other")
        assert path.read_text() == "the other"
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed_by_the_next(old):
    script = (
        "import sys; from glintiqa_jax.data.files import Output; o = Output(sys.argv[1]); print(flush=True); input()"
    )
    pipe = subprocess.PIPE
    killed = subprocess.Popen([sys.executable, "-c", script, old], stdin=pipe, stdout=pipe)
    assert killed.stdout.readline()
    other = Output(old.parent / "other.csv")  # of another name: not touched
    live = len(list(old.parent.glob(".partial-*")))
    assert live == 2
    Output(old).discard()  # while it lives, what it has stays
    assert len(list(old.parent.glob(".partial-*"))) == live
    killed.kill()
    killed.communicate()
    written(old)
    other.keep()
    assert old.read_text() == "new"
    assert sorted(path.name for path in old.parent.iterdir()) == ["old.csv", "other.csv"]


def test_a_disk_without_locks_is_written_all_the_same(old, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    written(old)
    assert old.read_text() == "new"


@given(
    name=st.text(st.characters(exclude_characters="\0/", codec="utf-8"), min_size=1, max_size=20),
    raw=st.binary(max_size=4),
)
@settings(max_examples=40)
def test_any_name_is_a_file_and_stands_in_files(name, raw):
    """Whatever bytes a file system has for names; in text a byte that is none is spelled out."""
    with tempfile.TemporaryDirectory() as folder:
        full = os.fsdecode(os.fsencode(name) + raw.replace(b"\0", b"").replace(b"/", b""))
        path = Path(folder) / f"x{full}"
        write_csv(path, ["image"], [[full]])
        with path.open(encoding="utf-8", newline="") as file:
            (_, row) = csv.reader(file)
        assert row == [re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:x}", full)]
        write_text(path, full)
        write_json(path, full)
        assert json.loads(path.read_text(encoding="utf-8")) == full
        assert [entry.name for entry in Path(folder).iterdir()] == [path.name]


def test_rows_are_there_as_soon_as_they_are_written(tmp_path):
    reader, writer = os.pipe()

    def rows():
        assert os.read(reader, 100) == b"image\r\n"
        yield ["a.png"]
        assert os.read(reader, 100) == b"a.png\r\n"

    write_csv(Path(f"/dev/fd/{writer}"), ["image"], rows())
    os.close(writer)
    assert os.read(reader, 100) == b""
    os.close(reader)


def test_text_is_utf8_whatever_the_locale(tmp_path, monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
    files.write_text(tmp_path / "a", "é Δ")
    assert (tmp_path / "a").read_bytes() == "é Δ".encode()
