"""``card.md`` of a prepared database: its facts, a histogram, a contact sheet, near-duplicates."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from glintiqa_jax.data.databases import DATABASES
from glintiqa_jax.data.records import RecordSource
from glintiqa_jax.evaluation import plots
from glintiqa_jax.evaluation.document import Items, Plot, Section, write_markdown

_COLUMNS = 6  # images in a row of the contact sheet, and pairs of near-duplicates shown


def write_card(source: RecordSource) -> Path:
    """Write ``card.md`` and its pictures beside the records, and return its path.

    The pictures are ``scores.png``, ``images.png`` (the worst, the middle and the best by opinion score) and, where
    there are any, ``near_duplicates.png``.
    """
    path = source.folder / "card.md"
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        write_markdown(path, _sections(source))
    return path


def describe(source: RecordSource) -> list[str]:
    """A card's text, a line each."""
    card, index, near = source.card, source.index, source.card.near_duplicates
    widths, heights = index.widths, index.heights
    lines = [
        f"{len(source):,} images of {len(set(index.groups)):,} contents",
        f"scores {index.raw_scores.min():g} to {index.raw_scores.max():g} of {source.scale.describe()}",
        f"resolution {widths.min()}x{heights.min()} to {widths.max()}x{heights.max()}"
        + (
            f", the longer side shrunk to at most {card.max_side} (Pillow, bicubic, antialiased)"
            if card.max_side
            else ""
        ),
    ]
    if any(index.splits):
        counts = {name: index.splits.count(name) for name in dict.fromkeys(index.splits) if name}
        lines.append("published split: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    treated = "share a group" if near.merged else "keep their groups (`merge_near_duplicates`)"
    lines.append(f"near-duplicate pairs across contents: {near.pairs}" + (f"; they {treated}" if near.pairs else ""))
    if near.identical:
        lines.append(f"of them byte for byte the same, which always share a group: {len(near.identical)}")
    return [*lines, *source.contradictions(), f"left out: {len(card.skipped)}"]


def _histogram(source: RecordSource) -> Figure:
    figure = Figure(figsize=(5, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.hist(source.index.raw_scores, bins=50)
    axes.set(xlabel=source.scale.describe(), ylabel="images")
    return figure


def _contact_sheet(source: RecordSource, order: np.ndarray) -> Figure:
    count = min(_COLUMNS, len(order))
    middle = (len(order) - count) // 2
    rows = {"worst": order[:count], "middle": order[middle : middle + count], "best": order[::-1][:count]}
    return plots.contact_sheet(source, [[_cell(source, int(one), title) for one in row] for title, row in rows.items()])


def _pairs(source: RecordSource) -> Figure:
    position = {name: number for number, name in enumerate(source.index.names)}
    shown = source.card.near_duplicates.named[:_COLUMNS]
    return plots.contact_sheet(
        source, [[_cell(source, position[name]) for name in row] for row in zip(*shown, strict=True)]
    )


def _cell(source: RecordSource, position: int, title: str = "") -> tuple[int, str]:
    score, name = source.index.raw_scores[position], source.index.names[position]
    return position, f"{title} {score:.4g}".strip() + f"\n{plots.short(name)}"


def _sections(source: RecordSource) -> list[Section]:
    card = source.card
    title, facts = card.name, Items([*describe(source), *card.notes])
    order = np.argsort(source.scale.to_quality(source.index.raw_scores), kind="stable")
    pictures = [
        Plot("scores", _histogram(source), "histogram of scores"),
        Plot("images", _contact_sheet(source, order), "worst, middle and best"),
    ]
    origin: list[str] = []
    if database := DATABASES.get(card.name):
        title = database.title
        origin = [
            f"Source: {database.origin.citation}. {database.origin.home}".rstrip(),
            f"Licence: {database.origin.licence}. Content: {database.content.of}.",
        ]
    sections = [Section(title, [facts, *origin, *pictures])]
    if named := card.near_duplicates.named:
        pairs = Items([f"{one}, {other}" for one, other in named])
        plot = Plot("near_duplicates", _pairs(source), "near-duplicate pairs")
        sections.append(Section("Near-duplicates", [plot, pairs]))
    if card.skipped:
        sections.append(Section("Left out", [Items(card.skipped)]))
    return sections
