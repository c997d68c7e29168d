"""Figures that others have published, to stand beside ours.

All are medians over ten random splits, as the paper of GlintIQA lists them (arXiv 2408.03885), and none was measured
here. Splits differ from paper to paper, so that the third digit is no verdict.
"""

from __future__ import annotations

import dataclasses

SOURCE = "as listed in arXiv 2408.03885, medians over random splits of their own; not measured here"


@dataclasses.dataclass(frozen=True)
class Published:
    """What a model's authors, or the paper, report for it; PLCC after a logistic mapping, None where not listed."""

    model: str
    srocc: float
    plcc: float | None = None

    def describe(self) -> str:
        """``LoDa .932 / .944``: SROCC and, where it is listed, PLCC."""
        return " / ".join([f"{self.model} {self.srocc:.3f}"] + ([f"{self.plcc:.3f}"] if self.plcc is not None else []))


# trained and tested on parts of one database
WITHIN: dict[str, tuple[Published, ...]] = {
    "koniq10k": (
        Published("QCN", 0.934, 0.945),
        Published("LoDa", 0.932, 0.944),
        Published("HyperIQA", 0.906, 0.917),
    ),
    "clive": (
        Published("LoDa", 0.876, 0.899),
        Published("QCN", 0.875, 0.893),
        Published("HyperIQA", 0.859, 0.882),
    ),
    "kadid10k": (Published("LoDa", 0.931, 0.936), Published("TReS", 0.859, 0.858)),
    "tid2013": (Published("LoDa", 0.869, 0.901), Published("TReS", 0.863, 0.883)),
    "spaq": (Published("LoDa", 0.925, 0.928),),
    "bid": (Published("QCN", 0.892, 0.890),),
    "flive": (Published("LoDa", 0.578, 0.679),),
}

# trained on all of the first, tested on all of the second
ACROSS: dict[tuple[str, str], tuple[Published, ...]] = {
    ("koniq10k", "clive"): (Published("LoDa", 0.811), Published("HyperIQA", 0.785)),
    ("clive", "koniq10k"): (Published("LoDa", 0.745), Published("HyperIQA", 0.772)),
}


def reference(found: tuple[Published, ...]) -> str:
    """A cell of a table."""
    return "; ".join(one.describe() for one in found)
