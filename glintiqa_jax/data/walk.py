"""One walk of a folder, for every command: its images, and what is left out and why."""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from glintiqa_jax.data.paths import is_remote
from glintiqa_jax.data.pillow import is_called_image, is_image
from glintiqa_jax.data.stores import files_at
from glintiqa_jax.errors import InputError, visible

# What systems leave in folders, beside the files whose names begin with a full stop. In lower case.
_SYSTEM = frozenset(
    {
        "$recycle.bin",
        "#recycle",
        "__macosx",
        "@eadir",
        "@tmp",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)
# What a sensor saw, of which Pillow would find the small preview alone.
_RAW = re.compile(r"\.(3fr|arw|cr[23]|dng|erf|iiq|kdc|mef|mrw|nef|nrw|orf|pef|raf|raw|rw2|srw|x3f)", re.IGNORECASE)
_SHOWN = 3  # names for each reason
_NO_IMAGE, _HOLDS_IT = "no image", "link to a folder that holds it"
_FOLDER, _LINK = "folder", "link to a folder"


@dataclasses.dataclass
class Found:
    """What a walk found.

    Attributes:
      images: the files, in an order that depends on their paths alone.
      left_out: other paths, by the reason; hidden and system files are in neither.
    """

    images: list[Path] = dataclasses.field(default_factory=list)
    left_out: dict[str, list[Path]] = dataclasses.field(default_factory=dict)

    def leave_out(self, reason: str, path: Path) -> None:
        """Count a path among what is left out."""
        self.left_out.setdefault(reason, []).append(path)

    def note(self) -> str | None:
        """One line that says how many were left out and why; None where nothing was."""
        reasons = []
        for reason, paths in self.left_out.items():
            names = ", ".join(visible(path.name) for path in paths[:_SHOWN]) + (", ..." if len(paths) > _SHOWN else "")
            reasons.append(f"{reason}: {len(paths)} ({names})")
        return f"{sum(map(len, self.left_out.values()))} left out, {'; '.join(reasons)}" if reasons else None


def find_images(paths: Iterable[str | os.PathLike]) -> Found:
    """Image files: the named files, and the images below the named folders, sorted within each folder.

    An image is what Pillow loads, whatever its name ends with.

    Raises:
      InputError: for a path that does not exist and a folder without an image.
    """
    found = Found()
    for given in paths:
        if not os.fspath(given):  # which pathlib takes for the folder one is in
            raise InputError(expected="an image or a folder of images", found="an empty path")
        path = Path(given).expanduser()
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except (OSError, ValueError) as error:
            why = "nothing there" if isinstance(error, FileNotFoundError) else visible(error)
            raise InputError(file=visible(path), expected="an image or a folder of images", found=why) from error
        if not is_folder:
            found.images.append(path)
            continue
        below = images_below(path)
        if not below.images:
            raise InputError(
                file=visible(path),
                expected="images in this folder (JPEG, PNG, TIFF and what else Pillow reads)",
                found="none",
                hint=below.note() or "",
            )
        found.images += below.images
        for reason, left in below.left_out.items():
            found.left_out.setdefault(reason, []).extend(left)
    return found


def images_below(folder: Path) -> Found:
    """The images in a folder and below, maybe none."""
    files = files_below(folder)
    found = only_images(files.images)
    return Found(found.images, files.left_out | found.left_out)


def only_images(files: Iterable[Path]) -> Found:
    """The images among some files, with damaged ones if their names end as images' do."""
    found = Found()
    for path in files:
        if reason := _unfit(path):
            found.leave_out(reason, path)
        else:
            found.images.append(path)
    return found


def _unfit(path: Path) -> str:
    """Why a file is no image to be decoded; empty for one that is, or that seems to be."""
    if _RAW.fullmatch(path.suffix):
        return "camera raw, to be developed first"
    try:
        return "" if is_image(path) else _NO_IMAGE
    except OSError:
        return "cannot be read"


class ImageStream:
    """The images that some paths name, one by one: files, the images below folders, and what patterns match.

    However many there are, no more than the names of one folder are held at a time. The order depends on the paths
    alone.

    Args:
      paths: files, folders, and patterns as of ``glob`` where no file has that name, or addresses of such in a store.
      is_listed: the paths can be read but once.

    Attributes:
      is_listed: the argument.
      left_out: how many files in folders were left out, as they are no images.
    """

    def __init__(self, paths: Iterable[str | os.PathLike], *, is_listed: bool = False):
        self._paths, self.is_listed = paths, is_listed
        self.left_out = 0

    def __iter__(self) -> Iterator[tuple[Path | str, str]]:
        """Each path or address, and why it cannot be scored; the reason is empty for what seems to be an image."""
        self.left_out = 0
        for given in self._paths:
            yield from (self._stored if is_remote(given) else self._named)(os.fspath(given))

    def _stored(self, address: str) -> Iterator[tuple[str, str]]:
        """In a store, images are what is called so: nothing is opened."""
        try:
            for found in files_at(address):
                if found != address and not is_called_image(found):
                    self.left_out += 1
                else:
                    yield found, ""
        except OSError as error:
            yield address, "nothing there" if isinstance(error, FileNotFoundError) else visible(error)

    def _named(self, given: str, *, matched: bool = False) -> Iterator[tuple[Path, str]]:
        path = Path(given)
        try:
            path = path.expanduser()
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except (OSError, ValueError, RuntimeError) as error:
            if matched or not glob.has_magic(given):
                yield path, "nothing there" if isinstance(error, FileNotFoundError) else visible(error)
            # unlike pathlib's, it takes a whole path
            elif matches := sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207
                for match in matches:
                    yield from self._named(match, matched=True)
            else:
                yield path, "nothing matches"
            return
        if not given:  # which pathlib takes for the folder one is in
            yield path, "an empty path"
        elif is_folder:
            yield from self._below(path)
        else:
            yield path, ""

    def _below(self, folder: Path) -> Iterator[tuple[Path, str]]:
        empty = True
        for path, reason in walk(folder):
            reason = reason or _unfit(path)
            if reason in (_NO_IMAGE, _HOLDS_IT):
                self.left_out += 1
                continue
            empty = False
            yield path, reason
        if empty:
            yield folder, "no images in this folder"


def files_below(folder: Path) -> Found:
    """All files in a folder and below, as ``walk`` finds them."""
    found = Found()
    for path, reason in walk(folder):
        if reason:
            found.leave_out(reason, path)
        else:
            found.images.append(path)
    return found


def walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """All files in a folder and below, whatever they are, but hidden and system files; nothing is opened.

    Linked folders are followed, each folder once however often it is linked, and by its own path if it has one here.

    Yields:
      Path and reason, in the order of the paths: the reason is empty for a file, else it says what else is there.
    """
    roots = [os.path.realpath(folder)]  # and those that links led to
    seen: set[str] = set()  # folders below links

    def visit(place: Path, real: str) -> Iterator[tuple[Path, str]]:
        if len(roots) > 1:
            if real in seen:
                return
            seen.add(real)
        try:
            with os.scandir(place) as entries:
                found = sorted((entry.name, _kind(entry)) for entry in entries if not is_system_name(entry.name))
        except OSError:
            yield place, "folder that cannot be read"
            return
        for name, kind in found:
            path = place / name
            if kind == _FOLDER:
                yield from visit(path, f"{real}{os.sep}{name}")
            elif kind == _LINK:
                target = os.path.realpath(path)
                if Path(real).is_relative_to(target):
                    yield path, _HOLDS_IT
                elif not any(_is_visited(target, root) for root in roots):
                    roots.append(target)
                    yield from visit(path, target)
            else:
                yield path, kind

    return visit(folder, roots[0])


def _is_visited(folder: str, root: str) -> bool:
    """Whether a walk of a root comes to a folder, by real folders alone."""
    return Path(folder).is_relative_to(root) and not any(map(is_system_name, Path(folder).relative_to(root).parts))


def is_system_name(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or is what a system keeps for itself."""
    return name.startswith(".") or name.lower() in _SYSTEM


def _kind(entry: os.DirEntry) -> str:
    """``_FOLDER``, ``_LINK`` to one, nothing for a file, or what else it is."""
    try:
        if entry.is_dir():
            return _LINK if entry.is_symlink() else _FOLDER
        if entry.is_file():
            return ""
        if entry.is_symlink() and not Path(entry.path).exists():
            return "link to nothing"
    except OSError:  # links that go round in circles, too
        return "link to nothing" if entry.is_symlink() else "no regular file"
    return "no regular file"
