"""How a model sees distortions of photographs that it was never shown: KADID-10k's 25, at five levels.

    python benchmarks/known_distortions.py --photographs=kodak
    python benchmarks/known_distortions.py --photographs=kodak --model=runs/mine --trials=100 --json

Prints a Markdown table. For each distortion, over all photographs:

- falls: the share of pairs of levels two apart (1 and 3, 2 and 4, 3 and 5) in which the score is lower at the higher
  level. KADID-10k's own observers: 92.5 %, as a few distortions, such as contrast, do not get worse with their number.
- undistorted first: the share of photographs that score higher than their level 3.
- found: a quarter of a photograph is replaced by the same quarter at level 4; the share of trials in which it has the
  lowest mean in the quality map. A quarter of them would be found by chance.

The last row is over all, with a 95 % interval by a bootstrap over photographs. Takes about fifteen minutes for 24
photographs and 400 trials on two cores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from absl import flags
from PIL import Image
from script import run_script
from tqdm import tqdm

import glintiqa_jax as giq
from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt.distortions import DISTORTIONS, LEVELS, distort

_PHOTOGRAPHS = flags.DEFINE_string("photographs", None, "folder of undistorted photographs, PNG", required=True)
_MODEL = flags.DEFINE_string("model", "", "a model's or a run's folder; none: the one that ships")
_TRIALS = flags.DEFINE_integer("trials", 400, "quarters to be found", lower_bound=0)
_JSON = flags.DEFINE_bool("json", False, "the last row once more, as a last line of JSON")

_UNDISTORTED_OVER, _QUARTER_LEVEL, _RESAMPLES = 3, 4, 2000


def main() -> None:
    """The command."""
    photographs = sorted(Path(_PHOTOGRAPHS.value).rglob("*.png"))
    if not photographs:
        raise InputError(field="photographs", expected="a folder of PNG files", found=_PHOTOGRAPHS.value)
    model = giq.load_model(_MODEL.value or None)
    scores = np.array([_scores(model, path, number) for number, path in enumerate(tqdm(photographs, unit="photo"))])
    falls = scores[:, :, 1:-2] > scores[:, :, 3:]  # (photographs, distortions, 3)
    first = scores[:, :, 0] > scores[:, :, _UNDISTORTED_OVER]
    trials = np.array(list(_trials(model, photographs)), int).reshape(-1, 3)  # photograph, distortion, found
    print(f"{len(photographs)} photographs, {len(trials)} trials; JAX {jax.__version__}\n")
    print("| distortion | falls | undistorted first | found |\n|---|---|---|---|")
    for number, distortion in enumerate(DISTORTIONS):
        found = trials[trials[:, 1] == number, 2]
        shares = (falls[:, number].mean(), first[:, number].mean(), found.mean() if len(found) else np.nan)
        print(f"| {distortion.name} | {' | '.join('' if np.isnan(share) else f'{share:.3f}' for share in shares)} |")
    everything = {
        "falls": _over_photographs(falls.mean(axis=(1, 2))),
        "undistorted_first": _over_photographs(first.mean(axis=1)),
    }
    if len(trials):
        everything["found"] = _over_photographs(_by_photograph(trials, len(photographs)))
    cells = [f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in everything.values()]
    print(f"| all | {' | '.join(cells + [''] * (3 - len(cells)))} |")
    if _JSON.value:
        print(json.dumps({name: round(mean, 4) for name, (mean, _, _) in everything.items()}))


def _scores(model: giq.Model, path: Path, seed: int) -> np.ndarray:
    """Quality, higher is better, of each distortion's levels, the undistorted first: ``(distortions, 1 + levels)``."""
    image = _read(path)

    def versions() -> Iterator[np.ndarray]:
        yield image
        for distortion in DISTORTIONS:
            for level in LEVELS:
                yield distort(image, distortion.number, level, seed=seed)

    first, *others = (float(model.card.scale.to_quality(score.value)) for score in model.score_many(versions()))
    table = np.reshape(others, (len(DISTORTIONS), len(LEVELS)))
    return np.insert(table, 0, first, axis=1)


def _trials(model: giq.Model, photographs: list[Path]) -> Iterator[tuple[int, int, bool]]:
    rng = np.random.default_rng(0)
    for trial in tqdm(range(_TRIALS.value), unit="map"):
        photograph, distortion = trial % len(photographs), trial % len(DISTORTIONS)
        image = _read(photographs[photograph])
        height, width = (side // 2 for side in image.shape[:2])
        quarters = [np.s_[top : top + height, left : left + width] for top in (0, height) for left in (0, width)]
        chosen = int(rng.integers(4))
        worse = distort(image, DISTORTIONS[distortion].number, _QUARTER_LEVEL, seed=trial)
        image = image.copy()
        image[quarters[chosen]] = worse[quarters[chosen]]
        quality = model.card.scale.to_quality(model.map(image).values)
        yield photograph, distortion, int(np.argmin([quality[quarter].mean() for quarter in quarters])) == chosen


def _by_photograph(trials: np.ndarray, count: int) -> np.ndarray:
    found = [trials[trials[:, 0] == number, 2] for number in range(count)]
    return np.array([hits.mean() if len(hits) else np.nan for hits in found])


def _over_photographs(shares: np.ndarray) -> tuple[float, float, float]:
    """The mean of what each photograph has, and a 95 % interval by a bootstrap over photographs."""
    shares = shares[~np.isnan(shares)]
    drawn = np.random.default_rng(0).integers(len(shares), size=(_RESAMPLES, len(shares)))
    low, high = np.quantile(shares[drawn].mean(axis=1), (0.025, 0.975))
    return float(shares.mean()), float(low), float(high)


def _read(path: Path) -> np.ndarray:
    """uint8 RGB ``(height, width, 3)``, of even sides."""
    image = np.asarray(Image.open(path).convert("RGB"))
    height, width = (side // 2 * 2 for side in image.shape[:2])
    return image[:height, :width]


if __name__ == "__main__":
    run_script(main)
