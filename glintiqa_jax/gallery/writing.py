"""Writes a gallery: rows in, a folder out. Rows are streamed: memory does not grow with their number."""

from __future__ import annotations

import array
import base64
import collections
import dataclasses
import hashlib
import heapq
import importlib.resources
import json
import os
import string
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glintiqa_jax.data.files import write_text
from glintiqa_jax.data.images import MAX_PIXELS
from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.data.pixels import BadImageError
from glintiqa_jax.data.workplace import workplace
from glintiqa_jax.errors import InputError, visible
from glintiqa_jax.gallery.pictures import PALETTE, Picture, Pictures, number
from glintiqa_jax.progress import TERMINAL, Log
from glintiqa_jax.scoring.rows import Row, read_rows

if TYPE_CHECKING:
    from glintiqa_jax.scoring.model import Model

PAGE = "index.html"
PREVIEW_SIDE = 1280  # pixels
_ROWS = "rows-*.js"
_AHEAD = 8  # photographs a thread that are decoded before they are written


@dataclasses.dataclass(frozen=True)
class Written:
    """A gallery that was written.

    Attributes:
      page: the file to open.
      photographs: how many have a score.
      failed: how many could not be scored.
      missing: how many have a score but cannot be shown, as their file is gone or has changed.
      maps: how many have a quality map.
    """

    page: Path
    photographs: int
    failed: int
    missing: int
    maps: int


def write_gallery(
    rows: Path,
    folder: Path,
    *,
    model: Model | None = None,
    maps: int = 0,
    preview_side: int = PREVIEW_SIDE,
    max_pixels: int = MAX_PIXELS,
    log: Log = TERMINAL,
) -> Written:
    """Write a page of scored photographs, in the place of the one that a folder holds.

    Pictures that are there, of photographs that have not changed, are kept: an interrupted call is resumed by the same
    call. Until the new page is complete, the old one is as it was.

    Args:
      rows: a file that ``glintiqa score`` wrote: JSON lines or CSV.
      folder: new, empty, or a gallery's.
      model: the one that scored; it draws the maps, and names the unit. None: no new maps are drawn.
      maps: how many photographs, the worst, get a quality map.
      preview_side: the longer side of the photographs that a click opens, in pixels; 0: the thumbnails are enough.
      max_pixels: the largest width times height of a photograph that is shown; 0: no limit.
      log: where progress and warnings go.

    Raises:
      InputError: before anything is written, for rows that cannot be read or are another model's, and a folder that
        holds something else.
    """
    survey = _survey(rows, maps if model else 0, log)
    if model and (others := [digest for digest in survey.models if digest != model.digest]):
        raise InputError(file=visible(rows), expected=f"rows of `model` {model.digest}", found=f"rows of {others[0]}")
    if folder.is_dir() and not (folder / "thumbs").is_dir() and any(folder.iterdir()):
        raise InputError(
            field="output", value=folder, expected="a new folder or a gallery's", found="one that holds something else"
        )
    with sole_user(folder, "output"), workplace(folder) as work:
        (folder / "thumbs").mkdir(exist_ok=True)
        writing = _Writing(Pictures(folder, work, preview_side, max_pixels), survey, model)
        data = work / "rows.js"
        digest = writing.rows(data, rows, log)
        target = folder / _ROWS.replace("*", digest)
        data.replace(target)
        write_text(folder / PAGE, _page(target.name))
        for other in folder.glob(_ROWS):
            if other != target:
                other.unlink()
        writing.remove_others()
    if writing.missing:
        some = f"{writing.missing} of {survey.scored} photographs"
        log.warn(f"warning: {some} have no picture in the gallery, as {writing.why}")
    return Written(folder / PAGE, survey.scored, survey.rows - survey.scored, writing.missing, len(writing.map_names))


@dataclasses.dataclass
class _Survey:
    """What the page says of all rows, and which get a map.

    Attributes:
      rows: their number.
      scored: how many have a score.
      worst: numbers of the rows that get a map.
      models: digests.
      ends: score and percent of the worst and of the best row within the scale.
    """

    rows: int = 0
    scored: int = 0
    worst: set[int] = dataclasses.field(default_factory=set)
    models: list[str] = dataclasses.field(default_factory=list)
    ends: list[tuple[float, float]] = dataclasses.field(default_factory=list)

    def scale(self) -> list[float] | None:
        """The scores that are 0 and 100 percent, which any two rows tell; None where there are no two."""
        if not self.ends or len(self.models) > 1:
            return None
        (score, percent), (other, more) = self.ends
        if more - percent < 1:
            return None
        step = (other - score) / (more - percent)
        return [float(f"{end:.4g}") for end in (score - percent * step, score + (100 - percent) * step)]


def _survey(path: Path, maps: int, log: Log) -> _Survey:
    """Read all rows once, so that a mistake in the last line is told before the work begins."""
    survey, worst = _Survey(), list[tuple[float, int]]()
    with log.progress(read_rows(path), desc="reading", unit="row", leave=False) as bar:
        for index, row in enumerate(bar):
            survey.rows += 1
            if row.model and row.model not in survey.models:
                survey.models.append(row.model)
            if not _is_scored(row):
                continue
            survey.scored += 1
            heapq.heappush(worst, (-row.percent, -index))
            if len(worst) > maps:
                heapq.heappop(worst)
            if 0 < row.percent < 100:  # beyond the scale's ends a percentage may be cut
                both = [*survey.ends, (row.score, row.percent)]
                survey.ends = [min(both, key=_percent), max(both, key=_percent)]
    if not survey.rows:
        raise InputError(file=visible(path), expected="rows of `glintiqa score`", found="none")
    survey.worst = {-index for _, index in worst}
    return survey


def _percent(end: tuple[float, float]) -> float:
    return end[1]


def _is_scored(row: Row) -> bool:
    return not row.error and row.score is not None and row.percent is not None


class _Writing:
    """Writes the rows' file and what it names.

    Args:
      pictures: where they are made.
      survey: of all rows.
      model: draws maps; None: it draws none.

    Attributes:
      missing: photographs without a picture.
      why: of the first of them.
      map_names: of the maps that the page shows.
    """

    def __init__(self, pictures: Pictures, survey: _Survey, model: Model | None):
        self._pictures, self._survey, self._model = pictures, survey, model
        self._names = array.array("Q")
        self.map_names = array.array("Q")
        self.missing, self.why = 0, ""

    def rows(self, target: Path, source: Path, log: Log) -> str:
        """Write the script that holds all rows; returns its digest."""
        digest = hashlib.sha256()
        with (
            target.open("wb") as file,
            log.progress(total=self._survey.rows, desc="gallery", unit="photo", leave=False) as bar,
        ):
            for text in self._script(source, bar):
                encoded = text.encode("ascii")
                digest.update(encoded)
                file.write(encoded)
        return digest.hexdigest()[:16]

    def remove_others(self) -> None:
        """Remove pictures that the page no longer shows."""
        for kind, names in (("thumbs", self._names), ("previews", self._names), ("maps", self.map_names)):
            self._pictures.keep_only(kind, names)

    def _script(self, source: Path, bar: Any) -> Iterator[str]:
        scale = self._model.card.scale if self._model else None
        known = [float(scale.to_raw(0.0)), float(scale.to_raw(1.0))] if scale else self._survey.scale()
        about = {
            "palette": PALETTE,
            "models": self._survey.models,
            "scale": known,
            "unit": scale.unit if scale else "",
        }
        yield f'"use strict";\nconst GALLERY = {{about: {json.dumps(about)}, rows: [\n'
        for index, (row, picture) in enumerate(self._pictured(source)):
            yield json.dumps(self._cells(index, row, picture), separators=(",", ":")) + ",\n"
            bar.update()
        yield "]};\n"

    def _pictured(self, source: Path) -> Iterator[tuple[Row, Picture]]:
        """The rows in their order, each with its picture, while threads make the next ones."""
        threads = os.cpu_count() or 1
        waiting: collections.deque[tuple[Row, Future[Picture] | None]] = collections.deque()
        pool = ThreadPoolExecutor(threads)
        try:
            for row in read_rows(source):
                waiting.append((row, pool.submit(self._pictures.of, row.path) if _is_scored(row) else None))
                if len(waiting) > threads * _AHEAD:
                    yield _settled(*waiting.popleft())
            while waiting:
                yield _settled(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _cells(self, index: int, row: Row, picture: Picture) -> list[Any]:
        """A row as the page reads it."""
        path = visible(row.path)
        if not _is_scored(row):
            return [path, visible(row.error or "no score")]
        map_name, map_range = "", None
        if picture.name:
            self._names.append(number(picture.name))
            map_name = self._pictures.map_name(picture, row.model)
            map_range = self._map(index, row, map_name)
        else:
            self.missing += 1
            self.why = self.why or f"{path}: {visible(picture.missing)}"
        if map_range:
            self.map_names.append(number(map_name))
        numbers = [value and float(f"{value:.5g}") for value in (row.deviation, row.low, row.high)]
        return [
            *(path, float(f"{row.percent:.4f}"), float(f"{row.score:.6g}"), *numbers, row.width, row.height),
            *(picture.name, visible(picture.missing), visible(row.note or ""), self._model_number(row)),
            *((map_name, map_range) if map_range else ()),
        ]

    def _model_number(self, row: Row) -> int:
        return self._survey.models.index(row.model) if row.model else -1

    def _map(self, index: int, row: Row, name: str) -> list[float] | None:
        """The range of a row's map, which is drawn first where it is asked for and not there."""
        found = self._pictures.map_range(name)
        if found is None and self._model and index in self._survey.worst:
            try:
                raw = np.asarray(self._model.map(row.path), np.float32)
            except BadImageError:  # smaller than a window
                return None
            self._pictures.write_map(name, 100 * self._model.card.scale.to_quality(raw))
            found = self._pictures.map_range(name)
        return found


def _settled(row: Row, picture: Future[Picture] | None) -> tuple[Row, Picture]:
    return row, picture.result() if picture else Picture()


def _page(rows: str) -> str:
    """The page, whose style and script are inside, so that its policy can name them by their digests."""
    here = importlib.resources.files(__package__)
    style, script = (here.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digests = {f"{name}_digest": _sha256(text) for name, text in (("style", style), ("script", script))}
    page = string.Template(here.joinpath("page.html").read_text(encoding="utf-8"))
    return page.substitute(style=style, script=script, rows=rows, **digests)


def _sha256(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
