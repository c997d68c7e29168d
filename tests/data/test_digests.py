"""Files are known by what they hold, and read again only when they may hold something else."""

import hashlib
import os
import shutil

from glintiqa_jax.data.digests import digests


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_content_is_what_counts(tmp_path, monkeypatch):
    paths = [tmp_path / "images" / name for name in ("a", "deep/b")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    expected = [sha256(b"a"), sha256(b"b")]
    assert digests(paths, tmp_path / "data") == expected
    os.utime(paths[0], (0, 0))
    assert digests(paths, tmp_path / "data") == expected
    shutil.copytree(tmp_path / "images", tmp_path / "copy")
    assert digests([tmp_path / "copy/a", tmp_path / "copy/deep/b"], tmp_path / "data") == expected
    times = paths[1].stat()
    paths[1].write_bytes(b"c")  # of the same size, with its old time
    os.utime(paths[1], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digests(paths, tmp_path / "data") == [sha256(b"a"), sha256(b"c")]

    def refusing(*_, **__):
        raise AssertionError("read again")

    monkeypatch.setattr(hashlib, "file_digest", refusing)
    assert digests(paths, tmp_path / "data") == [sha256(b"a"), sha256(b"c")]


def test_a_damaged_memory_is_ignored(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    assert digests([tmp_path / "a"], tmp_path / "data") == [sha256(b"a")]
    (memory,) = (tmp_path / "data" / ".digests").iterdir()
    for content in (b"", b"{", b"[1]", b'{"a": 1}', b'{"a": [1, 2, 3]}', b"\xff\xfe"):
        memory.write_bytes(content)
        assert digests([tmp_path / "a"], tmp_path / "data") == [sha256(b"a")]


def test_what_cannot_be_read_or_remembered_is_no_error(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "file").write_bytes(b"no folder")
    assert digests([tmp_path / "a", tmp_path / "gone"], tmp_path / "file") == [sha256(b"a"), ""]
    assert digests([], tmp_path / "none") == []
