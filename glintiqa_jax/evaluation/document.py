"""A report as blocks, written as Markdown with its plots beside it and as one HTML page without other files. Text is
plain: each format has one function that escapes it, as names of images and databases may hold anything. Invisible
  characters are spelled out in all formats.
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
from glintiqa_jax.errors import visible

MARKDOWN, PAGE, LATEX = "report.md", "report.html", "tables.tex"
# an underscore inside a word means nothing
_MARKDOWN_SPECIAL = re.compile(r"([\\`*\[\]<>#|$&~]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9]))")
_MARKDOWN_BEGINNING = re.compile(r"([-+=]|[0-9]+[.)])")  # of a line: a list's, or what makes a title of the one before
_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    '"': r"\symbol{34}",
    "[": "{[}",  # which, like a star, would belong to the \\ that ends the row before
    "*": "{*}",
    "Δ": r"$\Delta$",
    "≥": r"$\geq$",
} | {sign: "\\" + sign for sign in "&%$#_{}"}
_LATEX_RUN = re.compile(r"-(?=-)|,(?=,)|^ | $|(?<= ) | (?= )")  # what it would join: dashes, quotes, spaces
_PAGE_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
h1, h2, p, li, caption, th.words { white-space: pre-wrap; overflow-wrap: anywhere; }
th, td { border-bottom: 1px solid #ddd; padding: 0.3rem 0.7rem; text-align: right; }
td { white-space: nowrap; }
th.words, td.words { text-align: left; white-space: pre-wrap; min-width: 9rem; }
th { border-bottom: 2px solid #888; }
caption { caption-side: bottom; text-align: left; color: #555; padding-top: 0.4rem; }
div.wide { overflow-x: auto; }
img { max-width: 100%; height: auto; }
pre { background: #f4f4f4; padding: 0.7rem; white-space: pre-wrap; word-break: break-word; }
code { background: #f4f4f4; }
"""


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells as text, and a caption; ``words`` is the number of leading columns with text rather than figures."""

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
    """A figure, the name of its file without the ending, and its caption."""

    name: str
    figure: Figure
    description: str


@dataclasses.dataclass(frozen=True)
class Listing:
    """Preformatted lines, such as a command."""

    text: str


@dataclasses.dataclass(frozen=True)
class Items:
    """Items of a list."""

    lines: Sequence[str]


Block = str | Table | Plot | Listing | Items


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
    write_markdown(folder / MARKDOWN, sections)
    write_text(folder / PAGE, _page(sections, folder))
    if latex:
        tables = [block for block in _blocks(sections) if isinstance(block, Table)]
        write_text(folder / LATEX, "\n\n".join(map(_latex, tables)) + "\n")


def write_markdown(path: Path, sections: Sequence[Section]) -> None:
    """Write sections as Markdown, with their plots as PNG beside."""
    for block in _blocks(sections):
        if isinstance(block, Plot):
            save_figure(block.figure, path.with_name(f"{block.name}.png"))
    write_text(path, "\n\n".join(_markdown(sections)) + "\n")


def _blocks(sections: Sequence[Section]) -> list[Block]:
    return [block for section in sections for block in section.blocks]


def _markdown(sections: Sequence[Section]) -> list[str]:
    parts = []
    for level, section in zip(("#", *["##"] * len(sections)), sections, strict=False):
        parts.append(f"{level} {in_markdown(section.title)}")
        for block in section.blocks:
            if isinstance(block, Table):
                header = [
                    _row(block.columns),
                    "|---" * block.words + "|---:" * (len(block.columns) - block.words) + "|",
                ]
                parts.append("\n".join(header + [_row(row) for row in block.rows]))
                parts += [_paragraph(block.caption)] if block.caption else []
            elif isinstance(block, Plot):
                parts.append(f"![{in_markdown(block.description)}]({block.name}.png)")
            elif isinstance(block, Listing):
                fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
                parts.append("\n".join([f"{fence}text", *map(visible, block.text.split("\n")), fence]))
            elif isinstance(block, Items):
                parts.append("\n".join(f"- {_paragraph(line)}" for line in block.lines))
            else:
                parts.append(_paragraph(block))
    return parts


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(in_markdown, cells)) + " |"


def _paragraph(text: str) -> str:
    """Escape a paragraph for Markdown, where the first character may have a special meaning."""
    written = in_markdown(text)
    if beginning := _MARKDOWN_BEGINNING.match(written):
        return f"{beginning[0][:-1]}\\{written[beginning.end() - 1 :]}"
    return written


def in_markdown(text: str) -> str:
    """Escape plain text for Markdown, on one line."""
    text = visible(text)
    inner = text.strip()
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :] if inner else ""
    kept = ["".join(f"&#{ord(sign)};" for sign in spaces) for spaces in (before, after)]
    return _MARKDOWN_SPECIAL.sub(r"\\\1", inner).join(kept)


def _page(sections: Sequence[Section], folder: Path) -> str:
    """The document as HTML, its plots inside."""
    title = in_html(sections[0].title)
    parts = [
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_PAGE_STYLE}</style></head><body>",
    ]
    for level, section in zip(("h1", *["h2"] * len(sections)), sections, strict=False):
        parts.append(f"<{level}>{in_html(section.title)}</{level}>")
        for block in section.blocks:
            if isinstance(block, Table):
                rows = "\n".join(
                    [_html_row("th", block.columns, block.words)]
                    + [_html_row("td", row, block.words) for row in block.rows]
                )
                caption = f"<caption>{in_html(block.caption)}</caption>" if block.caption else ""
                parts.append(f'<div class="wide"><table>{caption}\n{rows}\n</table></div>')
            elif isinstance(block, Plot):
                encoded = base64.b64encode((folder / f"{block.name}.png").read_bytes()).decode()
                parts.append(f'<p><img alt="{in_html(block.description)}" src="data:image/png;base64,{encoded}"></p>')
            elif isinstance(block, Listing):
                parts.append("<pre>" + "\n".join(map(in_html, block.text.split("\n"))) + "</pre>")
            elif isinstance(block, Items):
                parts.append("<ul>" + "\n".join(f"<li>{in_html(line)}</li>" for line in block.lines) + "</ul>")
            else:
                parts.append(f"<p>{in_html(block)}</p>")
    return "\n".join([*parts, "</body></html>\n"])


def _html_row(tag: str, cells: Sequence[str], words: int) -> str:
    left = (f'<{tag} class="words">{in_html(cell)}</{tag}>' for cell in cells[:words])
    # an interval stands below its figure
    right = (f"<{tag}>{in_html(cell).replace(' (', ' <br>(')}</{tag}>" for cell in cells[words:])
    return f"<tr>{''.join([*left, *right])}</tr>"


def in_html(text: str) -> str:
    """Escape plain text for HTML, inside an element or a quoted attribute."""
    return html.escape(visible(text))


def _latex(table: Table) -> str:
    """A ``tabular`` for ``booktabs``, its caption as a comment, to be put in the paper's own words."""
    lines = [r"\begin{tabular}{" + "l" * table.words + "r" * (len(table.columns) - table.words) + "}", r"\toprule"]
    lines += [" & ".join(map(in_latex, table.columns)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(in_latex, row)) + r" \\" for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    comment = [f"% {visible(table.caption)}"] if table.caption else []
    return "\n".join(comment + lines)


def in_latex(text: str) -> str:
    """Escape plain text for LaTeX, whose fonts may lack some letters."""
    apart = _LATEX_RUN.split(visible(text)), _LATEX_RUN.findall(visible(text))
    words = ["".join(_LATEX_SPECIAL.get(sign, sign) for sign in piece) for piece in apart[0]]
    between = ["\\ " if sign == " " else sign + "{}" for sign in apart[1]]
    return "".join(word + sign for word, sign in zip(words, [*between, ""], strict=True))
