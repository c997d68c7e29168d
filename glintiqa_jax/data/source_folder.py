"""A downloaded database on disk: files are found in any case and at any depth."""

from __future__ import annotations

import functools
import os
import unicodedata
from pathlib import Path, PurePosixPath

from glintiqa_jax.data.names import OutsideError, normal_name
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.data.walk import files_below
from glintiqa_jax.errors import InputError


class SourceFolder:
    """The files below a folder, found by the end of their path, in any case.

    Mirrors nest databases differently: ``find("images/I01.png")`` is any file whose path ends so, the least nested if
    there are several.

    Args:
      root: the folder; a link to one is fine.

    Raises:
      InputError: when it is not a folder, or is empty.
    """

    def __init__(self, root: str | os.PathLike):
        self.root = Path(root).expanduser()
        if not str(root) or not self.root.is_dir():
            kind = "nothing given" if not str(root) else ("a file" if self.root.exists() else "nothing there")
            raise InputError(field="source", value=root, expected="the folder of a downloaded database", found=kind)
        self._real = functools.cache(lambda folder: Path(os.path.realpath(folder)))
        self._by_name: dict[str, list[PurePosixPath]] = {}
        for file in files_below(self.root).images:
            inside = PurePosixPath(file.relative_to(self.root).as_posix())
            self._by_name.setdefault(_plain(inside.name), []).append(inside)
        self.files = sum(map(len, self._by_name.values()))
        if not self.files:
            raise InputError(
                field="source", value=root, expected="the files of a downloaded database", found="an empty folder"
            )

    def find(self, name: str) -> Path | None:
        """The file whose path ends with ``name``, in any case; None where there is none.

        Raises:
          InputError: when ``name`` points outside the folder, by ``..``, an absolute path or a link, or several files
            that are nested equally deep match.
        """
        try:
            wanted = PurePosixPath(normal_name(name, self.root))
        except OutsideError as error:
            raise InputError(f"{name!r} points outside the folder", field="source", value=self.root) from error
        except ValueError:
            return None  # an empty name
        tail = _lower(wanted)
        found = [path for path in self._by_name.get(tail[-1], ()) if _lower(path)[-len(tail) :] == tail]
        if not found:
            return None
        depth = min(len(path.parts) for path in found)
        shallowest = [path for path in found if len(path.parts) == depth]
        if len(shallowest) > 1:
            exact = [path for path in shallowest if path.parts[-len(tail) :] == wanted.parts]
            if len(exact) != 1:
                raise InputError(
                    field="source",
                    value=self.root,
                    expected=f"one file {name}",
                    found=first_five([str(p) for p in shallowest]),
                )
            shallowest = exact
        path = self._within(shallowest[0])
        return path if path.is_file() else None  # a link to nothing

    def file(self, *names: str) -> Path:
        """The first of ``names`` that exists; ``InputError`` lists what was looked for if none does."""
        for name in names:
            if (path := self.find(name)) is not None:
                return path
        raise InputError(
            field="source",
            value=self.root,
            expected=f"{' or '.join(names)}, in any case and at any depth",
            found=f"none of these among {self.files} files",
        )

    def inside(self, folder: str, suffix: str) -> list[Path]:
        """The files with a suffix that lie in folders of that name, both in any case, by path."""
        tail = (_plain(folder),)
        paths = (path for paths in self._by_name.values() for path in paths)
        wanted = [path for path in paths if _lower(path)[-2:-1] == tail and path.suffix.lower() == suffix]
        return [self._within(path) for path in sorted(wanted)]

    def only_file(self, suffix: str) -> Path:
        """The one file with a suffix, in any case; ``InputError`` where there are none or several."""
        found = [path for paths in self._by_name.values() for path in paths if path.suffix.lower() == suffix]
        if len(found) != 1:
            names = first_five(sorted(map(str, found))) or "none"
            raise InputError(field="source", value=self.root, expected=f"one *{suffix} file", found=names)
        return self._within(found[0])

    def has_folder(self, name: str) -> bool:
        """Whether a folder of that name, in any case, holds files, at any depth."""
        return any(_plain(name) in _lower(path)[:-1] for paths in self._by_name.values() for path in paths)

    def _within(self, path: PurePosixPath) -> Path:
        """The path from where we are; ``InputError`` where it is a link that leaves the folder."""
        file = self.root / path
        # realpath, unlike resolve, takes links that go round in circles
        real = Path(os.path.realpath(file)) if file.is_symlink() else self._real(file.parent)
        if not real.is_relative_to(self._real(self.root)):
            raise InputError(f"{file} is a link that points outside the folder", field="source", value=self.root)
        return file


def _lower(path: PurePosixPath) -> tuple[str, ...]:
    return tuple(map(_plain, path.parts))


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).lower()
