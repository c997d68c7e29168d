"""A report as blocks, written once as Markdown with its plots beside it and once as one HTML page that needs nothing.

Text is plain; between ``backticks`` it is set as code. Nothing else of Markdown is used or interpreted, as names of
images and databases are anybody's.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from glintiqa_jax.data.files import save_figure, write_text

MARKDOWN, PAGE, LATEX = "report.md", "report.html", "tables.tex"
# an underscore inside a word means nothing
_MARKDOWN_SPECIAL = re.compile(r"([\\*\[\]<>#|$]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9]))")
_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "Δ": r"$\Delta$",
    "≥": r"$\geq$",
} | {sign: "\\" + sign for sign in "&%$#_{}"}
_PAGE_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ddd; padding: 0.3rem 0.7rem; text-align: right; }
td { white-space: nowrap; }
th.words, td.words { text-align: left; white-space: normal; min-width: 9rem; }
th { border-bottom: 2px solid #888; }
caption { caption-side: bottom; text-align: left; color: #555; padding-top: 0.4rem; }
div.wide { overflow-x: auto; }
img { max-width: 100%; height: auto; }
pre { background: #f4f4f4; padding: 0.7rem; white-space: pre-wrap; word-break: break-word; }
code { background: #f4f4f4; }
"""


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells as text, and what the figures are, for under the table; ``words`` are the leading columns of no figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    words: int = 1

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"expected {len(self.columns)} cells in each row, found {len(row)}: {row}")


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure, the name of its file without the ending, and what one sees in it."""

    name: str
    figure: Figure
    description: str


@dataclasses.dataclass(frozen=True)
class Listing:
    """Lines that stand as they are, such as a command."""

    text: str


Block = str | Table | Plot | Listing


@dataclasses.dataclass(frozen=True)
class Section:
    """A title over some blocks; those of the first section stand under the document's title."""

    title: str
    blocks: Sequence[Block]


def write_document(folder: Path, sections: Sequence[Section], *, latex: bool = False) -> None:
    """Write ``report.md`` with its plots as PNG, ``report.html`` and, where asked for, ``tables.tex``.

    Args:
      folder: an existing folder.
      sections: the first one's title is the document's.
      latex: write the tables for LaTeX's ``booktabs``, too.
    """
    for block in _blocks(sections):
        if isinstance(block, Plot):
            save_figure(block.figure, folder / f"{block.name}.png")
    write_text(folder / MARKDOWN, "\n\n".join(_markdown(sections)) + "\n")
    write_text(folder / PAGE, _page(sections, folder))
    if latex:
        tables = [block for block in _blocks(sections) if isinstance(block, Table)]
        write_text(folder / LATEX, "\n\n".join(map(_latex, tables)) + "\n")


def _blocks(sections: Sequence[Section]) -> list[Block]:
    return [block for section in sections for block in section.blocks]


def _markdown(sections: Sequence[Section]) -> list[str]:
    parts = []
    for level, section in zip(("#", *["##"] * len(sections)), sections, strict=False):
        parts.append(f"{level} {_in_markdown(section.title)}")
        for block in section.blocks:
            if isinstance(block, Table):
                header = [
                    _row(block.columns),
                    "|---" * block.words + "|---:" * (len(block.columns) - block.words) + "|",
                ]
                parts.append("\n".join(header + [_row(row) for row in block.rows]))
                parts += [_in_markdown(block.caption)] if block.caption else []
            elif isinstance(block, Plot):
                parts.append(f"![{_in_markdown(block.description)}]({block.name}.png)")
            elif isinstance(block, Listing):
                parts.append(f"```text\n{block.text}\n```")
            else:
                parts.append(_in_markdown(block))
    return parts


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_in_markdown(cell).replace("\n", " ") for cell in cells) + " |"


def _in_markdown(text: str) -> str:
    """Text in which only backticks mean something."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # a lone backtick is one
        return _MARKDOWN_SPECIAL.sub(r"\\\1", text.replace("`", "'"))
    return "`".join(
        piece.replace("|", r"\|") if number % 2 else _MARKDOWN_SPECIAL.sub(r"\\\1", piece)
        for number, piece in enumerate(pieces)
    )


def _page(sections: Sequence[Section], folder: Path) -> str:
    """The document as HTML, its plots inside."""
    title = _in_html(sections[0].title)
    parts = [
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_PAGE_STYLE}</style></head><body>",
    ]
    for level, section in zip(("h1", *["h2"] * len(sections)), sections, strict=False):
        parts.append(f"<{level}>{_in_html(section.title)}</{level}>")
        for block in section.blocks:
            if isinstance(block, Table):
                rows = "\n".join(
                    [_html_row("th", block.columns, block.words)]
                    + [_html_row("td", row, block.words) for row in block.rows]
                )
                caption = f"<caption>{_in_html(block.caption)}</caption>" if block.caption else ""
                parts.append(f'<div class="wide"><table>{caption}\n{rows}\n</table></div>')
            elif isinstance(block, Plot):
                encoded = base64.b64encode((folder / f"{block.name}.png").read_bytes()).decode()
                alt = html.escape(block.description, quote=True)
                parts.append(f'<p><img alt="{alt}" src="data:image/png;base64,{encoded}"></p>')
            elif isinstance(block, Listing):
                parts.append(f"<pre>{html.escape(block.text)}</pre>")
            else:
                parts.append(f"<p>{_in_html(block)}</p>")
    return "\n".join([*parts, "</body></html>\n"])


def _html_row(tag: str, cells: Sequence[str], words: int) -> str:
    left = (f'<{tag} class="words">{_in_html(cell)}</{tag}>' for cell in cells[:words])
    # an interval stands below its figure
    right = (f"<{tag}>{_in_html(cell.replace(' (', chr(10) + '('))}</{tag}>" for cell in cells[words:])
    return f"<tr>{''.join([*left, *right])}</tr>"


def _in_html(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text)).replace("\n", "<br>")


def _latex(table: Table) -> str:
    """A ``tabular`` for ``booktabs``, its caption as a comment: what it says belongs into the paper's own words."""
    lines = [r"\begin{tabular}{" + "l" * table.words + "r" * (len(table.columns) - table.words) + "}", r"\toprule"]
    lines += [" & ".join(map(_in_latex, table.columns)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(_in_latex, row)) + r" \\" for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    comment = [f"% {line}" for line in table.caption.splitlines()]
    return "\n".join(comment + lines)


def _in_latex(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(sign, sign) for sign in text.replace("`", "").replace("\n", " "))
