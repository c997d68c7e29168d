"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text)
    temporary.replace(path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a Matplotlib figure as PNG."""
    temporary = path.with_name("partial." + path.name)  # with its ending, which says the format
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in letters that the font lacks
        figure.savefig(temporary, dpi=120)
    temporary.replace(path)


def write_json(path: Path, content: object) -> None:
    """Write indented JSON."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a CSV file with a header."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    temporary.replace(path)
