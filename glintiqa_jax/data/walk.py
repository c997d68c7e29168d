"""One walk of a folder, for every command: its images, and what is left out and why."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from glintiqa_jax.data.pillow import is_image
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
        if _RAW.fullmatch(path.suffix):
            found.leave_out("camera raw, to be developed first", path)
            continue
        try:
            good = is_image(path)
        except OSError:
            found.leave_out("cannot be read", path)
            continue
        if good:
            found.images.append(path)
        else:
            found.leave_out("no image", path)
    return found


def files_below(folder: Path) -> Found:
    """All files in a folder and below, whatever they are, but hidden and system files.

    Linked folders are followed, each folder once however often it is linked. Nothing is opened.
    """
    found = Found()
    links: list[Path] = []
    seen: set[tuple[int, int]] = set()

    def visit(start: Path) -> None:
        waiting = [start]
        while waiting:
            place = waiting.pop()
            try:
                status = place.stat()
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(place) as entries:
                    for entry in entries:
                        _sort_in(entry, place / entry.name, found, waiting, links)
            except OSError:
                found.leave_out("folder that cannot be read", place)

    visit(folder)
    while links:  # after all that is there itself, which so keeps its own path
        links.sort()
        link = links.pop(0)
        if Path(os.path.realpath(link.parent)).is_relative_to(os.path.realpath(link)):
            found.leave_out("link to a folder that holds it", link)
        else:
            visit(link)
    found.images.sort()
    for left in found.left_out.values():
        left.sort()
    return found


def is_system_name(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or is what a system keeps for itself."""
    return name.startswith(".") or name.lower() in _SYSTEM


def _sort_in(entry: os.DirEntry, path: Path, found: Found, folders: list[Path], links: list[Path]) -> None:
    if is_system_name(entry.name):
        return
    try:
        if entry.is_dir():
            (links if entry.is_symlink() else folders).append(path)
        elif entry.is_file():
            found.images.append(path)
        elif entry.is_symlink():
            found.leave_out("link to nothing" if not path.exists() else "no regular file", path)
        else:
            found.leave_out("no regular file", path)
    except OSError:  # links that go round in circles, too
        found.leave_out("link to nothing" if entry.is_symlink() else "no regular file", path)
