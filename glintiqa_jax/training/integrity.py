"""Checkpoints that have been damaged since they were written are noticed: checksums of all their files."""

from __future__ import annotations

import hashlib
import json

from etils import epath

_FILE = "checksums.json"
_BLOCK = 2**22  # bytes


def seal(checkpoint: epath.Path) -> None:
    """Write the size and SHA-256 of every file of a complete checkpoint into it, last and in one rename."""
    content = {
        str(path.relative_to(checkpoint)): {"bytes": path.stat().length, "sha256": _sha256(path)}
        for path in _files(checkpoint)
    }
    temporary = checkpoint / f"{_FILE}.partial"
    temporary.write_text(json.dumps(content, indent=1))
    temporary.replace(checkpoint / _FILE)


def is_sealed(checkpoint: epath.Path) -> bool:
    """Whether a checkpoint has its checksums."""
    return (checkpoint / _FILE).exists()


def damage(checkpoint: epath.Path) -> str | None:
    """What is wrong with a checkpoint, the first file of it that is not as it was written; None for a whole one.

    One that was never sealed, as its run was killed just then, is whole: Orbax had renamed it when it was complete.
    """
    if not is_sealed(checkpoint):
        return None
    try:
        content = json.loads((checkpoint / _FILE).read_text())
        expected = {name: (row["bytes"], row["sha256"]) for name, row in content.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{_FILE} is no list of checksums"
    for name, (length, sha256) in expected.items():
        path = checkpoint / name
        if not path.exists():
            return f"{name} is missing"
        if (found := path.stat().length) != length:
            return f"{name} has {found} bytes, expected {length}"
        if _sha256(path) != sha256:
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


def _sha256(path: epath.Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()
