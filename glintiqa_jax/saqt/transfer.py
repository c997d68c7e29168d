"""Semantic-aligned quality transfer: an image's distortions get the scores that a like image's got (paper III-D).

Scores are tables of 25 types by 5 levels. The paper gives an image the table of the reference that it is most like,
"top1". One reference's scores are noisy, though, and predict another's worse than the mean over all references does;
"shrunk", the default here, moves that mean towards a similarity-weighted one by as much as the references' own scores
show the similarity to be worth. ``benchmarks/transfer_quality.py`` measures them all.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from glintiqa_jax.data.databases import DATABASES
from glintiqa_jax.data.databases.synthetic import read_kadid_table
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt.distortions import DISTORTIONS, LEVELS
from glintiqa_jax.saqt.retrieval import nearest

TRANSFERS = ("top1", "topk", "mean", "shrunk")
_TYPES, _LEVELS = len(DISTORTIONS), len(LEVELS)
# Tried as temperatures: these times the standard deviation of the references' similarities. At a quarter, the weight of
# a reference that is a deviation more alike is e^4 times as much; at the last, all weigh nearly the same.
_TEMPERATURES = 2.0 ** np.arange(-2, 4)
_BLOCK = 4096  # images


@dataclasses.dataclass(frozen=True)
class ReferenceScores:
    """The opinion scores of each distortion of each reference.

    Attributes:
      names: the references, "I01.png", ..., sorted.
      scores: float64 ``(references, 25, 5)``, by type and level, in the database's unit.
      scale: what the scores mean.
    """

    names: tuple[str, ...]
    scores: np.ndarray
    scale: ScoreScale

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.names), _TYPES, _LEVELS):
            raise ValueError(f"expected scores ({len(self.names)}, {_TYPES}, {_LEVELS}), found {self.scores.shape}")

    def only(self, chosen: np.ndarray) -> ReferenceScores:
        """Some of the references, by index."""
        return ReferenceScores(tuple(self.names[index] for index in chosen), self.scores[chosen], self.scale)


@dataclasses.dataclass(frozen=True)
class Shrinkage:
    """How much to trust similar references.

    Attributes:
      temperature: a reference weighs exp(similarity / temperature), divided by the sum over references.
      strength: from 0, the mean over all references, to 1, the weighted mean.
    """

    temperature: float
    strength: float


def read_reference_scores(path: str | Path, *, scale: ScoreScale = DATABASES["kadid10k"].scale) -> ReferenceScores:
    """The scores of a database's references from a table of KADID-10k's form (dist_img, ref_img, dmos).

    Raises:
      InputError: a missing table, an invalid name or number in it; a type or level beyond 25 and 5; a reference that
        lacks one, or has it twice; a score out of range; one score for all.
    """
    table = Path(path)
    rated: dict[str, np.ndarray] = {}
    for image in read_kadid_table(table):
        kind, level, score = image.distortion_type, image.distortion_level, image.raw_score
        if not (1 <= kind <= _TYPES and 1 <= level <= _LEVELS):
            raise InputError(
                file=table, expected=f"types from 1 to {_TYPES} and levels from 1 to {_LEVELS}", found=image.name
            )
        if not scale.low <= score <= scale.high:
            raise InputError(
                file=table, expected=f"scores from {scale.low:g} to {scale.high:g}", found=f"{score:g} for {image.name}"
            )
        scores = rated.setdefault(image.reference, np.full((_TYPES, _LEVELS), np.nan))
        if not np.isnan(scores[kind - 1, level - 1]):
            raise InputError(
                file=table,
                expected=f"one score of {image.reference}, type {kind}, level {level}",
                found=f"a second one, that of {image.name}",
            )
        scores[kind - 1, level - 1] = score
    missing = [
        f"{name} type {kind + 1} level {level + 1}"
        for name, scores in sorted(rated.items())
        for kind, level in np.argwhere(np.isnan(scores))
    ]
    if missing:
        raise InputError(
            file=table,
            expected=f"{_TYPES * _LEVELS} scores of each reference, {len(missing)} are missing: {first_five(missing)}",
        )
    names = tuple(sorted(rated))
    tables = np.stack([rated[name] for name in names])
    if tables.min() == tables.max():
        raise InputError(file=table, expected="scores that differ", found=f"{tables.min():g} alone")
    return ReferenceScores(names, tables, scale)


def transferred_scores(
    features: np.ndarray | None,
    references: np.ndarray | None,
    reference_scores: ReferenceScores,
    *,
    transfer: str = "shrunk",
    top_k: int = 5,
    seed: int = 0,
    images: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores for the distortions of images that no observer has seen.

    Args:
      features: float32 ``(images, channels)``, rows of length 1; None where ``transfer`` needs none.
      references: float32 ``(references, channels)``, the same features of the references; None likewise.
      reference_scores: the references' scores, in the order of ``references``.
      transfer: "top1", the most similar reference's, as in the paper; "topk", the mean over the ``top_k`` most similar
        ones, weighted by similarity; "mean", that over all references; "shrunk", the mean moved towards a
        similarity-weighted one, by ``fit_shrinkage``; or "random", those of a reference drawn by ``seed``, as a bound.
        "mean" and "random" need no features.
      top_k: references that "topk" takes.
      seed: of "random".
      images: how many images there are, if features are None.

    Returns:
      float64 ``(images, 25, 5)`` scores in the references' unit, and int64 ``(images,)`` the index of the matched
      reference: the most similar one, the one drawn, or -1 for "mean" without features.

    Raises:
      InputError: an unknown method, features that are missing, or not of the references or their backbone.
    """
    if transfer not in (*TRANSFERS, "random"):
        raise InputError(field="transfer", value=transfer, expected=f"one of {', '.join((*TRANSFERS, 'random'))}")
    scores = reference_scores.scores
    count = images if features is None else len(features)
    if transfer == "random":
        drawn = np.random.default_rng(seed).integers(len(scores), size=count)
        return scores[drawn], drawn
    if features is None or references is None:
        if transfer != "mean":
            raise InputError(
                "needs features of images and references",
                field="transfer",
                value=transfer,
                hint="only mean does without",
            )
        return np.repeat(scores.mean(axis=0)[None], count, axis=0), np.full(count, -1, np.int64)
    _check_references(references, reference_scores)
    indices, similarities = nearest(features, references, top_k if transfer == "topk" else 1)
    matched = indices[:, 0]
    if transfer == "top1":
        return scores[matched], matched
    if transfer == "mean":
        return np.repeat(scores.mean(axis=0)[None], count, axis=0), matched
    if transfer == "topk":
        weights = np.maximum(similarities.astype(np.float64), 1e-6)  # those unlike weigh nothing, unless all are
        weights /= weights.sum(axis=1, keepdims=True)
        found = np.zeros((count, _TYPES, _LEVELS))
        for rank in range(top_k):
            found += weights[:, rank, None, None] * scores[indices[:, rank]]
        return found, matched
    return _shrunk(features, references, scores, fit_shrinkage(references, reference_scores)), matched


def fit_shrinkage(references: np.ndarray, reference_scores: ReferenceScores) -> Shrinkage:
    """Estimate how much similarity in these features is worth, from the references' own scores.

    Each reference's scores are predicted from the others', at each of some temperatures. The strength is that of least
    squares, the temperature the one with the smallest error. A gain over the mean that is within its
    standard error over references is taken for chance, and a larger one is shrunk by the positive-part rule of James
    and Stein: similarity that says nothing gets next to no weight.

    Args:
      references: float32 ``(references, channels)``, rows of length 1.
      reference_scores: their scores, of at least three references for any weight.

    Raises:
      InputError: features and scores of different numbers of references.
    """
    _check_references(references, reference_scores)
    count = len(references)
    if count < 3:
        return Shrinkage(1.0, 0.0)
    scores = reference_scores.scores.reshape(count, -1)  # (references, types * levels)
    others_mean = (scores.sum(axis=0) - scores) / (count - 1)
    wanted = scores - others_mean
    similarities = (references @ references.T).astype(np.float64)
    spread = float(np.std(similarities[~np.eye(count, dtype=bool)]))
    np.fill_diagonal(similarities, -np.inf)
    best, most = Shrinkage(1.0, 0.0), 0.0
    for temperature in _TEMPERATURES * spread if spread > 0 else ():
        offered = _softmax(similarities / temperature) @ scores - others_mean
        strength = float(np.clip(np.sum(offered * wanted) / np.sum(np.square(offered)), 0, 1))
        gains = np.sum(np.square(wanted) - np.square(wanted - strength * offered), axis=1)
        gain, chance = np.mean(gains), np.std(gains, ddof=1) / np.sqrt(count)
        if gain > max(most, chance):
            best, most = Shrinkage(float(temperature), strength * float(1 - (chance / gain) ** 2)), gain
    return best


def released_scores(scores: np.ndarray, reference_scores: ReferenceScores) -> np.ndarray:
    """Scores in the references' unit to the released scale: min-max scaled to [0, 9], higher is better.

    The minimum and maximum are those of all the references' scores, so that an image's scores do not depend on which
    others they are written with. Transferred scores are means of the references' and cannot leave the range.

    Args:
      scores: of any shape, in the references' unit.
      reference_scores: those that they were transferred from.

    Returns:
      float64, of the shape of ``scores``.
    """
    low, high = reference_scores.scores.min(), reference_scores.scores.max()
    if low == high:
        raise InputError(expected="reference scores that differ", found=f"{low:g} alone")
    part = (np.asarray(scores, np.float64) - low) / (high - low)
    return 9.0 * (1.0 - part if reference_scores.scale.lower_is_better else part)


def _shrunk(features: np.ndarray, references: np.ndarray, scores: np.ndarray, shrinkage: Shrinkage) -> np.ndarray:
    flat = scores.reshape(len(scores), -1)  # (references, types * levels)
    mean = flat.mean(axis=0)
    found = np.empty((len(features), flat.shape[1]))
    for start in range(0, len(features), _BLOCK):
        rows = slice(start, start + _BLOCK)
        similarities = (np.asarray(features[rows]) @ references.T).astype(np.float64)
        weighted = _softmax(similarities / shrinkage.temperature) @ flat
        found[rows] = mean + shrinkage.strength * (weighted - mean)
    return found.reshape(-1, _TYPES, _LEVELS)  # (images, types, levels)


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _check_references(references: np.ndarray, reference_scores: ReferenceScores) -> None:
    if len(references) != len(reference_scores.names):
        raise InputError(
            expected=f"features of the {len(reference_scores.names)} references with scores",
            found=f"{len(references)} of them",
        )
