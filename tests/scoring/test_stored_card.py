"""A card of format 1 as it was written once: every later version reads it, so the file is never edited."""

from pathlib import Path

from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.scoring.card import read_card

CARD = Path(__file__).resolve().parents[1] / "golden" / "card_of_format_1.json"


def test_a_card_of_format_1_is_read():
    """Where a setting of the network is renamed, ``formerly`` keeps its name in this file."""
    card = read_card(CARD)
    assert card.network == VARIANTS["glintiqa_mini"]
    assert card.scale.describe() == "DMOS 0 to 100, lower is better"
    assert (card.view.max_side, card.view.max_short_side, card.view.grid, card.output) == (1024, 192, 3, "raw")
    assert (card.calibration.half_width(2.0), card.trained_on.images) == (7.5, 80)
    assert card.results == {"test": {"srocc": 0.5, "plcc": None}}
    assert card.origin.licences == ("csv: CC0-1.0",)
