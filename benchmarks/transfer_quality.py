"""How well one reference's scores are predicted from the others': the quality of SAQT's label transfer.

    python benchmarks/transfer_quality.py --reference_scores=kadid10k/dmos.csv
    python benchmarks/transfer_quality.py --reference_scores=kadid10k/dmos.csv \\
        --reference_images=kadid10k/images --features=resnet50 --weights=timm
    python benchmarks/transfer_quality.py --reference_scores=kadid10k/dmos.csv --simulate

Leave-one-reference-out: the 125 scores of each reference are predicted from the other references alone, constants
included, and all predictions are compared with all scores at once. Prints one Markdown table with SROCC, and RMSE in
the database's unit, and how much of what the mean over the others leaves is a reference's own, a type's, a level's.

Without images there are bounds: one reference at random (all pairs), the mean over the others, and the one that an
oracle would choose by RMSE. With ``--reference_images`` there are the transfers. ``--reference_features`` names a file
for their features: it is read where it exists, and written where it does not.

``--simulate`` makes features that share a part with how the scores truly differ: from none, where a transfer should
not be worse than the mean, to all. A cosine similarity of real features is somewhere between. RMSE, means over
``--draws``.

Takes seconds without images; ``--simulate`` takes a minute or two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import flags
from script import run_script
from tqdm import tqdm

from glintiqa_jax.data.images import decode_image
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.metrics import rmse, srocc
from glintiqa_jax.saqt.features import FEATURES, features_of
from glintiqa_jax.saqt.labelling import reference_paths
from glintiqa_jax.saqt.transfer import TRANSFERS, ReferenceScores, read_reference_scores, transferred_scores

_SCORES = flags.DEFINE_string("reference_scores", None, "the references' scores: KADID-10k's dmos.csv", required=True)
_IMAGES = flags.DEFINE_string("reference_images", "", "folder of the references' images")
_FILE = flags.DEFINE_string("reference_features", "", "their features, .npz: read, or written where there are none")
_KIND = flags.DEFINE_enum("features", "resnet50", FEATURES, "which features")
_WEIGHTS = flags.DEFINE_string("weights", "", "of the features: a file, 'timm' or 'package'")
_K = flags.DEFINE_integer("k", 5, "references that topk takes", lower_bound=1)
_SIMULATE = flags.DEFINE_bool("simulate", False, "simulated features instead of real ones")
_DRAWS = flags.DEFINE_integer("draws", 3, "simulated features of each kind", lower_bound=1)

_SHARES = (0.0, 0.03, 0.1, 0.3, 1.0)
_NOISE_CHANNELS = 64


def main() -> None:
    """The command."""
    scores = read_reference_scores(_SCORES.value)
    if len(scores.names) < 2:
        raise InputError(file=_SCORES.value, expected="two references or more", found=", ".join(scores.names))
    if _SIMULATE.value:
        _print_simulation(scores)
        return
    features = _features(scores)
    print(f"{len(scores.names)} references, {scores.scale.describe()}\n")
    print("| transfer | SROCC | RMSE |\n|---|---|---|")
    for name, predicted, wanted in _predictions(scores, features):
        agreement, error = (metric(predicted.ravel(), wanted.ravel()) for metric in (srocc, rmse))
        print(f"| {name} | {agreement:.4f} | {error:.4f} |")
    print(f"\n{_what_the_mean_leaves(scores.scores)}")


def leave_one_out(scores: ReferenceScores, features: np.ndarray | None, method: str) -> np.ndarray:
    """Each reference's scores by ``method`` from the others alone: float64 ``(references, 25, 5)``."""
    everyone = np.arange(len(scores.names))
    predicted = np.empty_like(scores.scores)
    for one in everyone:
        others = np.delete(everyone, one)
        mine, theirs = (None, None) if features is None else (features[[one]], features[others])
        predicted[one] = transferred_scores(
            mine, theirs, scores.only(others), transfer=method, top_k=_K.value, images=1
        )[0][0]
    return predicted


def _predictions(scores: ReferenceScores, features: np.ndarray | None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name of a row, predictions, scores."""
    true = scores.scores
    first, second = np.nonzero(~np.eye(len(true), dtype=bool))
    yield "a reference at random", true[second], true[first]
    yield "mean over the others", leave_one_out(scores, None, "mean"), true
    distances = np.mean(np.square(true[:, None] - true), axis=(2, 3))  # (references, references)
    np.fill_diagonal(distances, np.inf)
    yield "the best reference (oracle)", true[np.argmin(distances, axis=1)], true
    if features is not None:
        for method in TRANSFERS:
            if method != "mean":
                name = f"top{_K.value}" if method == "topk" else method
                yield f"{name}, {_KIND.value}", leave_one_out(scores, features, method), true


def _features(scores: ReferenceScores) -> np.ndarray | None:
    """The references' features, in the order of the scores; None where none are asked for."""
    if not _IMAGES.value:
        if _FILE.value:
            needed = "needs `reference_images`, whose features it holds"
            raise InputError(needed, field="reference_features", value=_FILE.value)
        return None
    if _FILE.value and not Path(_FILE.value).parent.is_dir():
        expected = "a file in an existing folder"
        raise InputError(field="reference_features", value=_FILE.value, expected=expected, found="no folder")
    paths = reference_paths(_IMAGES.value, scores.names)
    images = (decode_image(path.read_bytes(), str(path)) for path in paths)
    return features_of(
        scores.names,
        images,
        _KIND.value,
        digests=[hashlib.sha256(path.read_bytes()).hexdigest() for path in paths],
        weights=_WEIGHTS.value,
        file=_FILE.value,
    )


def _what_the_mean_leaves(scores: np.ndarray) -> str:
    """How the variance of ``(references, types, levels)`` about the mean over references is made up."""
    left = scores - scores.mean(axis=0)
    reference = left.mean(axis=(1, 2), keepdims=True)
    kind = left.mean(axis=2, keepdims=True) - reference
    level = left.mean(axis=1, keepdims=True) - reference
    rest = left - reference - kind - level
    parts = [np.mean(np.square(part)) / np.mean(np.square(left)) for part in (reference, kind, level, rest)]
    return (
        f"Variance about the mean over references: {np.mean(np.square(left)):.4f}; of it the reference's own "
        "{:.0%}, its own by type {:.0%}, by level {:.0%}, the rest {:.0%}.".format(*parts)
    )


def _print_simulation(scores: ReferenceScores) -> None:
    mean = rmse(leave_one_out(scores, None, "mean").ravel(), scores.scores.ravel())
    methods = [method for method in TRANSFERS if method != "mean"]
    lines = []
    with tqdm(total=len(_SHARES) * _DRAWS.value * len(methods), desc="simulating", leave=False) as bar:
        for share in _SHARES:
            found = np.zeros((_DRAWS.value, len(methods)))
            for draw, column in np.ndindex(found.shape):
                predicted = leave_one_out(scores, simulated_features(scores.scores, share, seed=draw), methods[column])
                found[draw, column] = rmse(predicted.ravel(), scores.scores.ravel())
                bar.update()
            lines.append(f"| {share:.0%} | " + " | ".join(f"{value:.4f}" for value in found.mean(axis=0)) + " |")
    print(f"RMSE; mean over the others {mean:.4f}\n")
    print(f"| true share | {' | '.join(methods)} |\n|{'---|' * (1 + len(methods))}")
    print("\n".join(lines))


def simulated_features(scores: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    """Features whose similarity is, but for noise, ``share`` times that of the scores' deviations from their mean.

    Args:
      scores: ``(references, types, levels)``.
      share: from 0, features that say nothing of the scores, to 1.
      seed: of the noise.

    Returns:
      float32 ``(references, channels)``, rows of length 1; no two are opposite, as of real networks.
    """
    true = (scores - scores.mean(axis=0)).reshape(len(scores), -1)  # (references, types * levels)
    noise = np.random.default_rng(seed).standard_normal((len(scores), _NOISE_CHANNELS))
    parts = [
        np.sqrt(part) * values / np.linalg.norm(values, axis=1, keepdims=True)
        for part, values in ((share, true), (1 - share, noise))
    ]
    features = np.concatenate([np.ones((len(scores), 1)), *parts], axis=1)
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    run_script(main)
