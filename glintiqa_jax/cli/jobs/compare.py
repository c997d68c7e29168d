"""Compare photographs: which is better, by how much, and is that more than the error of a prediction?

    glintiqa compare a.jpg b.jpg c.jpg
    glintiqa compare before/ after/

Of photographs, each is compared with the best. Of two folders, photographs of equal names, whatever their endings, are
pairs, and the mean difference has a 95 % interval by a paired bootstrap.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.models import define_model, open_model
from glintiqa_jax.cli.results import result
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.data.walk import images_below
from glintiqa_jax.errors import InputError, visible

if TYPE_CHECKING:
    from glintiqa_jax.scoring.model import Model
    from glintiqa_jax.scoring.score import Comparison, Score

ARGUMENTS = "A B..."
_SHOWN = 5  # pairs at each end


def define(values: Flags) -> None:
    """The job's flags."""
    define_model(values)
    flags.DEFINE_bool("json", False, "print JSON: the comparison, and each photograph or pair", values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job; ``arguments`` are photographs, or two folders."""
    paths = [local_path("photograph", argument) for argument in arguments]
    if len(paths) < 2:
        raise InputError(expected="two photographs or folders", found=len(paths), hint="glintiqa compare A B...")
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) != 2:
        raise InputError(
            file=visible(folders[0]), expected="photographs, or two folders", found="a folder beside others"
        )
    if len(folders) == 1:
        raise InputError(file=visible(folders[0]), expected="two folders, or no folder", found="one")
    if folders:
        _compare_folders(values, *paths)
    else:
        _compare_photographs(open_model(values), paths, as_json=values.json)


def _compare_photographs(model: Model, paths: list[Path], *, as_json: bool) -> None:
    from glintiqa_jax.scoring.score import Comparison

    scores = list(zip(paths, model.score_many(paths), strict=True))
    scores.sort(key=lambda found: -found[1].percent)
    best_path, best = scores[0]
    against = [(path, score, Comparison(score, best)) for path, score in scores[1:]]
    if as_json:
        rows = [{"path": str(best_path), "score": best.value, "percent": best.percent}]
        rows += [{"path": str(path), **_figures(score, comparison)} for path, score, comparison in against]
        result(json.dumps({"model": model.digest, "photographs": rows}))
        return
    result(f"percent     score  behind the best      photograph ({model.card.scale.describe()})")
    result(f"{best.percent:7.1f} {best.value:9.4g}  {'':19}  {visible(best_path)}")
    for path, score, comparison in against:
        behind = f"{comparison.difference:5.1f} {_how_sure(comparison)}"
        result(f"{score.percent:7.1f} {score.value:9.4g}  {behind:19}  {visible(path)}")


def _figures(score: Score, comparison: Comparison) -> dict[str, float | bool | None]:
    return {
        "score": score.value,
        "percent": score.percent,
        "behind": comparison.difference,
        "uncertainty": comparison.uncertainty,
        "certain": comparison.certain,
    }


def _how_sure(comparison: Comparison) -> str:
    if comparison.certain is None:
        return ""
    return "certain" if comparison.certain else "not certain"


def _by_name(folder: Path) -> dict[str, Path]:
    """A folder's photographs by their paths in it, without endings where these tell no two apart."""
    images = [path.relative_to(folder) for path in images_below(folder).images]
    short = {str(path.with_suffix("")): folder / path for path in images}
    return short if len(short) == len(images) else {str(path): folder / path for path in images}


def _compare_folders(values: Flags, first: Path, second: Path) -> None:
    names = [_by_name(folder) for folder in (first, second)]
    pairs = [name for name in names[0] if name in names[1]]
    if not pairs:
        raise InputError(file=visible(second), expected=f"photographs of the names in {visible(first)}", found="none")
    if alone := len(names[0]) + len(names[1]) - 2 * len(pairs):
        values.log.warn(f"{alone} photographs are in one of the folders only, and are left out")
    model = open_model(values)
    from glintiqa_jax.scoring.comparing import PairedComparison
    from glintiqa_jax.scoring.score import Comparison

    both = (names[side][name] for name in pairs for side in (0, 1))
    with values.log.progress(total=len(pairs), desc="comparing", unit="pair", leave=False) as bar:
        comparisons = []
        scores = model.score_many(both)
        for before, after in zip(scores, scores, strict=True):
            comparisons.append(Comparison(before, after))
            bar.update()
    found = PairedComparison.of(comparisons)
    if values.json:
        each = [
            {
                "name": name,
                "first_percent": one.first.percent,
                "second_percent": one.second.percent,
                "difference": one.difference,
            }
            for name, one in zip(pairs, comparisons, strict=True)
        ]
        result(json.dumps({"model": model.digest, **dataclasses.asdict(found), "certain": found.certain, "each": each}))
        return
    ordered = sorted(zip(comparisons, pairs, strict=True), key=lambda pair: pair[0].difference)
    result("  first  second   change  percent of quality; photograph")
    for number, (one, name) in enumerate(ordered):
        if min(number, len(ordered) - 1 - number) < _SHOWN:
            result(f"{one.first.percent:7.1f} {one.second.percent:7.1f} {one.difference:+8.1f}  {visible(name)}")
        elif number == _SHOWN:
            result("    ...")
    interval = "" if found.interval is None else " ({:+.1f} to {:+.1f})".format(*found.interval)
    better = "better" if found.difference > 0 else "worse"
    sure = {True: "", False: ", which may be chance", None: ", of too few pairs to tell from chance"}[found.certain]
    result(
        f"{visible(second)} is {better} than {visible(first)} by {found.difference:+.1f} percent{interval}{sure}; "
        f"better in {found.improved:.0%} of {found.pairs} pairs"
    )
