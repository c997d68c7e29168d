"""Names are anybody's: they show as they are in every format, and mean nothing to it."""

import html.parser
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glintiqa_jax.errors import visible
from glintiqa_jax.evaluation import document
from glintiqa_jax.evaluation.document import Items, Listing, Section, Table, in_html, in_latex, in_markdown

HOSTILE = [
    "a|b|c",
    "<script>alert(1)</script>",
    "`code` ``two`` ```three",
    "$x^2$ \\alpha",
    "*bold* _soft_ __b__ ~~gone~~",
    "[text](http://there) ![picture](x.png)",
    "two\nlines\r\nand\ttabs",
    "\x1b[31mred\x07 \x00",
    "left\u202eright \u200f\u2066",
    "caf\udce9.png \ud800",
    "&amp; &#65; & %",
    "# title",
    "- item",
    "1. first",
    "12) twelfth",
    "+ plus",
    "=== under",
    "---",
    "> said",
    "\\",
    "ends in a backslash\\",
    "  spaces  all  round  ",
    "\u3000 wide \xa0",
    "[in brackets]",
    "*",
    "-- --- ?` !` ,, ''quoted''",
    "{braces} 50% a_b #1 ~",
    "\ufffe\uffff\ufeff",
    "www.there.com a@b.c",
    "<!-- hidden",
]
PAGE_TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "p", "div", "table", "caption", "tr", "th", "td"}
PAGE_TAGS |= {"br", "ul", "li", "pre"}
MARKDOWN_TAGS = {"h1", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "pre", "code"}
names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(min_size=1, max_size=30),
    st.text("\\`*_{}[]<>()#+-.!|$&~=1 \n'\"", min_size=1, max_size=12),
)


def with_examples(test):
    for text in HOSTILE:
        test = example(text)(test)
    return settings(max_examples=60)(given(names)(test))


def sections(name: str) -> list[Section]:
    table = Table([name, name], [[name, name], [name, "0.5"]], caption=name)
    return [Section(name, [name, table, Items([name, name]), Listing(f"{name}\n{name}")])]


class Text(html.parser.HTMLParser):
    """What a page shows: the tags it opens, and the text of each element."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag != "br":
            self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data


@with_examples
def test_what_could_not_be_seen_is_spelled_out_on_one_line(name):
    shown = visible(name)
    assert shown.encode("utf-8").decode().splitlines() in ([shown], [])
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert visible(shown) == shown


@with_examples
def test_a_page_shows_names_as_they_are(name):
    page = Text(document._page(sections(name), None))
    words = [text.strip("\n") for tag, text in zip(page.tags, page.texts, strict=False) if tag != "style"]
    assert page.tags.count("td") == 4
    assert page.tags.count("li") == 2
    assert set(page.tags) <= PAGE_TAGS
    assert words.count(visible(name)) >= 8
    assert Text(f"<p title='{in_html(name)}'>{in_html(name)}</p>").texts == [visible(name)]


@with_examples
def test_markdown_shows_names_as_they_are(name):
    """By a renderer of CommonMark with GitHub's tables."""
    renderer = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable(["table", "strikethrough"])
    page = Text(renderer.render("\n\n".join(document._markdown(sections(name))) + "\n"))
    shown = visible(name)
    text = {
        tag: [t.strip("\n") for found, t in zip(page.tags, page.texts, strict=True) if found == tag]
        for tag in page.tags
    }
    assert set(text) <= MARKDOWN_TAGS
    assert text["h1"] == [shown]
    assert text["th"] == [shown] * 2
    assert text["td"] == [shown, shown, shown, "0.5"]
    assert [t for t in text["p"] if t] == [shown] * len([t for t in text["p"] if t])
    assert text["li"] == [shown, shown]
    assert text["code"] == ["\n".join(map(visible, f"{name}\n{name}".split("\n"))).strip("\n")]


@with_examples
def test_latex_has_no_special_sign_of_a_name(name):
    written = in_latex(name)
    # what is left when all that was written for a special sign is taken away
    commands = r"\\text(?:backslash|asciitilde|asciicircum|less|greater|bar|asciigrave|quotesingle)\{\}|\\symbol\{34\}"
    left = re.sub(commands + r"|\\[&%$#_{} ]|\{[\[*]\}|[-,]\{\}|\$\\(?:Delta|geq)\$", "x", written)
    assert not re.search(r"[\\{}$&%#_~^<>|`\"'\[*\n]|--|,,|  |^ | $", left)
    back = {
        r"\textbackslash{}": "\\",
        r"\textasciitilde{}": "~",
        r"\textasciicircum{}": "^",
        r"\textless{}": "<",
        r"\textgreater{}": ">",
        r"\textbar{}": "|",
        r"\textasciigrave{}": "`",
        r"\textquotesingle{}": "'",
        r"\symbol{34}": '"',
        "{[}": "[",
        "{*}": "*",
        r"$\Delta$": "Δ",
        r"$\geq$": "≥",
        "-{}": "-",
        ",{}": ",",
    }
    pattern = re.compile("|".join(map(re.escape, back)) + r"|\\([&%$#_{} ])")
    assert pattern.sub(lambda found: found[1] or back[found[0]], written) == visible(name)


def test_plain_words_stay_plain():
    for text in (
        "image04.png",
        "MOS 0 to 100, higher is better; 20 images (csv).",
        "snake_case",
        "1.000 (-0.5 to 1)",
        "-",
    ):
        assert in_markdown(text) == in_html(text) == text
    assert in_latex("0.859 (0.828 to 0.882)") == "0.859 (0.828 to 0.882)"
