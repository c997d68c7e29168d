"""Digests of facts, and of the content of files, whatever their place and time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from glintiqa_jax.data.files import write_json
from glintiqa_jax.progress import progress_bar

_FOLDER = ".digests"  # in the folder of all prepared collections

Known = dict[str, tuple[int, int, int, str]]  # by path: size, two times, digest


def digest(*facts: object) -> str:
    """SHA-256 of JSON-serialisable facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def digests(paths: Sequence[Path], cache: str | os.PathLike) -> list[str]:
    """The SHA-256 of each file; "" for a file that cannot be read, which decoding it will report.

    Files are read by several threads, and again only when their size or times have changed.

    Args:
      paths: the files.
      cache: a folder for known digests; a damaged or read-only one is ignored.
    """
    if not paths:
        return []
    whole = [path.absolute() for path in paths]
    common = os.path.commonpath([path.parent for path in whole])
    file = Path(cache).expanduser() / _FOLDER / f"{hashlib.sha256(os.fsencode(common)).hexdigest()[:32]}.json"
    known = _read(file)

    def facts(path: Path) -> tuple[int, int, int, str]:
        try:
            status = path.stat()
            now = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            before = known.get(os.path.relpath(path, common))
            if before is not None and before[:3] == now:
                return before
            with path.open("rb") as opened:
                return (*now, hashlib.file_digest(opened, "sha256").hexdigest())
        except OSError:
            return 0, 0, 0, ""

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = list(progress_bar(pool.map(facts, whole), total=len(whole), desc="looking at files", leave=False))
    now = {os.path.relpath(path, common): one for path, one in zip(whole, found, strict=True) if one[3]}
    if any(known.get(path) != one for path, one in now.items()):
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, known | now)
    return [digest for *_, digest in found]


def _read(file: Path) -> Known:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {str(path): (int(a), int(b), int(c), str(digest)) for path, (a, b, c, digest) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
