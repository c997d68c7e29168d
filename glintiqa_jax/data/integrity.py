"""Checksums of all files of a checkpoint, by which damage since it was written is noticed."""

from __future__ import annotations

import hashlib
import json

from etils import epath

_FILE = "checksums.json"
_BLOCK = 2**22  # bytes


def seal(checkpoint: epath.Path) -> None:
    """Write the size and SHA-256 of every file of a complete checkpoint into it, last and in one rename."""
    content = {
        str(path.relative_to(checkpoint)): dict(zip(("bytes", "sha256"), _content(path), strict=True))
        for path in _files(checkpoint)
    }
    temporary = checkpoint / f"{_FILE}.partial"
    temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    temporary.replace(checkpoint / _FILE)


def is_sealed(checkpoint: epath.Path) -> bool:
    """Whether a checkpoint has its checksums."""
    return (checkpoint / _FILE).exists()


def damage(checkpoint: epath.Path) -> str | None:
    """The first damaged file of a checkpoint and what is wrong with it; None for an intact checkpoint.

    One without checksums, as its run was killed just then, is intact: Orbax renames it when it is complete.
    """
    if not is_sealed(checkpoint):
        return None
    try:
        content = json.loads((checkpoint / _FILE).read_text(encoding="utf-8"))
        expected = {name: (row["bytes"], row["sha256"]) for name, row in content.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{_FILE} is no list of checksums"
    for name, (length, sha256) in expected.items():
        path = checkpoint / name
        if not path.exists():
            return f"{name} is missing"
        found, found_sha256 = _content(path)
        if found != length:
            return f"{name} has {found} bytes, expected {length}"
        if found_sha256 != sha256:
            return f"{name} has other content than was written"
    return None


def _files(checkpoint: epath.Path) -> list[epath.Path]:
    found, folders = [], [checkpoint]
    while folders:
        for path in folders.pop().iterdir():
            if path.is_dir():
                folders.append(path)
            elif not path.name.startswith(_FILE):
                found.append(path)
    return sorted(found)


def _content(path: epath.Path) -> tuple[int, str]:
    """How many bytes a file has, and their SHA-256; epath's own ``stat`` fails for owners without a name."""
    length, sha = 0, hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            length += len(block)
            sha.update(block)
    return length, sha.hexdigest()
