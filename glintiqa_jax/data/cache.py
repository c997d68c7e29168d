"""Prepared records on a disk of this machine: object stores and slow network disks cannot be read by position."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from etils import epath

from glintiqa_jax.data.paths import check_path, local_path
from glintiqa_jax.data.records import records_path
from glintiqa_jax.data.workplace import workplace
from glintiqa_jax.errors import InputError

_BLOCK = 2**22  # bytes


def cache_records(name: str, data_dir: str, cache_dir: str, say: Callable[[str], None]) -> None:
    """Copy a database's prepared records, whole, to where ``open_dataset(name, data_dir=cache_dir)`` finds them.

    Shuffled training reads any record on any machine, so each machine needs all of them. A copy of the same preparation
    is reused, and a copy is complete or absent. Of several processes on a machine one copies, and the others wait for
    it.

    Args:
      name: the database's.
      data_dir: where it was prepared, a folder or ``gs://...``.
      cache_dir: a folder of this machine.
      say: gets a message about what is copied.

    Raises:
      InputError: where nothing is prepared at ``data_dir``, it cannot be read, or ``cache_dir`` cannot be written.
    """
    check_path("data_dir", data_dir, stores=True)
    source = epath.Path(data_dir).expanduser() / records_path(name)
    target = local_path("data_cache_dir", cache_dir) / records_path(name)
    try:
        card = (source / "card.json").read_text(encoding="utf-8")
    except Exception as error:  # each object store's client has its own exceptions
        raise InputError(
            field="data_dir", value=data_dir, expected=f"a prepared {name}", found=f"none that can be read ({error})"
        ) from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (target.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (target / "card.json").is_file() and (target / "card.json").read_text(encoding="utf-8") == card:
                return
            say(f"copying {json.loads(card)['images']} images of {name} from {data_dir} to {cache_dir}")
            with workplace(target.parent) as work:
                _copy(source, work / "records")
                if target.exists():
                    target.rename(work / "replaced")
                (work / "records").rename(target)
    except Exception as error:
        raise InputError(
            f"records of {name} could not be copied from `data_dir={data_dir}` ({error})",
            field="data_cache_dir",
            value=cache_dir,
        ) from error


def _copy(source: epath.Path, target: Path) -> None:
    target.mkdir()
    for path in source.iterdir():
        if path.is_dir():
            _copy(path, target / path.name)
            continue
        with path.open("rb") as file, (target / path.name).open("wb") as copy:
            shutil.copyfileobj(file, copy, _BLOCK)
