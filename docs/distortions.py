"""The table of distortions as the page ``docs/distortions.md``.

python docs/distortions.py > docs/distortions.md
"""

from glintiqa_jax.saqt.distortions.noise import DEFAULT_DENOISER
from glintiqa_jax.saqt.distortions.table import DISTORTIONS

_HEAD = f"""# The 25 distortions

KADID-10k's types in the database's numbering, each at five levels (H. Lin, V. Hosu and D. Saupe, "KADID-10k: A
Large-scale Artificially Distorted IQA Database", QoMEX 2019). `distort(image, number or name, level, seed=...)` of
`glintiqa_jax.saqt.distortions` makes them; random ones are functions of the seed, and what a random one draws can be
given instead where the table names it. By default the range is stretched to the whole before and after, as the
database's procedure does; `rescale=False` gives the plain distortion. A level is its parameter, called a where the
definition needs a name; variances, shifts and curves are of values in [0, 1]. Type 15 denoises with a
{DEFAULT_DENOISER.name}, or with a DnCNN, as the database does:
`denoiser=load_dncnn(path)` of `glintiqa_jax.saqt.dncnn`.

    glintiqa show_distortions photo.jpg -o gallery.png

shows all of them on a photograph.

| number | name | level 1 | 2 | 3 | 4 | 5 | definition | random |
|---|---|---|---|---|---|---|---|---|
"""
_FOOT = "\nThis page is made from the table: `python docs/distortions.py`.\n"


def page() -> str:
    """The whole page, in Markdown."""
    lines = []
    for row in DISTORTIONS:
        drawn = f"yes ({', '.join(f'`{name}`' for name in row.parameters)})" if row.parameters else "yes"
        levels = " | ".join(f"{level:g}" for level in row.levels)
        random = drawn if row.random else "no"
        lines.append(f"| {row.number} | `{row.name}` | {levels} | {row.definition} | {random} |\n")
    return _HEAD + "".join(lines) + _FOOT


if __name__ == "__main__":
    print(page(), end="")
