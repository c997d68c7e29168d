"""From photographs to sources: features, matched references, transferred scores (paper section III-D)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from glintiqa_jax.data.databases import DATABASES
from glintiqa_jax.data.files import open_output
from glintiqa_jax.data.images import decode_image
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.data.walk import find_images
from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt.features import check_file, check_weights, features_of
from glintiqa_jax.saqt.generation import Recipe, Source
from glintiqa_jax.saqt.kadid_scores import MEAN_SCORES
from glintiqa_jax.saqt.photographs import Photograph
from glintiqa_jax.saqt.transfer import (
    ReferenceScores,
    read_reference_scores,
    released_scores,
    transferred_scores,
)


@dataclasses.dataclass(frozen=True)
class Labelling:
    """How photographs get their scores.

    Attributes:
      reference_scores: table of a database's scores, as KADID-10k's ``dmos.csv``; "" for KADID-10k's means over its
        references, which are in this package.
      reference_images: folder of the references, "" for none, so that similarity is not used.
      transfer: a method of ``transfer.transferred_scores``.
      top_k: references that "topk" takes.
      features: one of ``features.FEATURES``.
      weights: of the features' network.
      reference_features: file of the references' features, "" for none; read if it exists, else written.
      source_features: the same for the photographs' features.
    """

    reference_scores: str = ""
    reference_images: str = ""
    transfer: str = "shrunk"
    top_k: int = 5
    features: str = "resnet50"
    weights: str = ""
    reference_features: str = ""
    source_features: str = ""

    def __post_init__(self) -> None:
        if self.transfer in ("mean", "random"):
            for name in ("reference_images", "weights", "reference_features", "source_features"):
                if value := getattr(self, name):
                    raise InputError(f"takes no `{name}`, found {value}", field="transfer", value=self.transfer)
        elif not self.reference_images:
            raise InputError(f"needed with `transfer='{self.transfer}'`, found nothing", field="reference_images")
        if not self.reference_scores and self.transfer != "mean":
            raise InputError(
                f"needed with `transfer='{self.transfer}'`, found nothing",
                field="reference_scores",
                hint="the means of KADID-10k, which are used without it, know no single references",
            )

    def check(self) -> ReferenceScores:
        """Read the scores and check that each reference has an image, before any long work.

        Raises:
          InputError: a reference without an image, incomplete scores, a file of features that cannot be written.
        """
        for name in ("reference_features", "source_features"):
            if value := getattr(self, name):
                path = Path(value).expanduser()
                if path.exists():
                    check_file(path, self.features)
                else:
                    open_output(name, value).discard()  # before any long work
        if not self.reference_scores:
            return ReferenceScores(("mean of KADID-10k",), MEAN_SCORES[None], DATABASES["kadid10k"].scale)
        scores = read_reference_scores(self.reference_scores)
        if self.reference_images:
            for path in reference_paths(self.reference_images, scores.names):
                decode_image(path.read_bytes(), str(path))
            check_weights(self.features, self.weights)
        if self.transfer == "topk" and self.top_k > len(scores.names):
            raise InputError(
                field="top_k", value=self.top_k, expected=f"at most the {len(scores.names)} references with scores"
            )
        return scores

    def sources(self, photographs: Sequence[Photograph], scores: ReferenceScores, recipe: Recipe) -> list[Source]:
        """The photographs with the scores of their distorted images, min-max scaled to [0, 9] as released."""
        features = references = None
        if self.reference_images:
            paths = reference_paths(self.reference_images, scores.names)
            references = features_of(
                scores.names,
                (decode_image(path.read_bytes(), str(path)) for path in paths),
                self.features,
                digests=[hashlib.sha256(path.read_bytes()).hexdigest() for path in paths],
                weights=self.weights,
                file=self.reference_features,
            )
            features = features_of(
                [photograph.name for photograph in photographs],
                (recipe.pristine(photograph.path) for photograph in photographs),
                self.features,
                digests=[photograph.digest for photograph in photographs],
                weights=self.weights,
                file=self.source_features,
            )
        transferred, matched = transferred_scores(
            features,
            references,
            scores,
            transfer=self.transfer,
            top_k=self.top_k,
            seed=recipe.seed,
            images=len(photographs),
        )
        released = released_scores(transferred, scores).reshape(len(photographs), -1)  # (images, 125)
        return [
            Source(
                name=photograph.name,
                path=str(photograph.path),
                digest=photograph.digest,
                group=photograph.group,
                reference=scores.names[reference] if reference >= 0 else "",
                scores=tuple(map(float, table)),
            )
            for photograph, reference, table in zip(photographs, matched, released, strict=True)
        ]

    def describe(self) -> str:
        """For a card: ``scores by top1 over resnet50 (timm) from dmos.csv``."""
        origin = Path(self.reference_scores).name if self.reference_scores else "KADID-10k's means"
        method = f"topk of {self.top_k}" if self.transfer == "topk" else self.transfer
        weights = f" ({Path(self.weights).name})" if self.weights else ""
        return f"scores by {method}{f' over {self.features}{weights}' if self.reference_images else ''} from {origin}"


def reference_paths(folder: str, names: Sequence[str]) -> list[Path]:
    """The images of named references in a folder and below, in their order; the ending may be another.

    Raises:
      InputError: for references without an image (the first five and the count).
    """
    found = {path.stem.casefold(): path for path in find_images([folder]).images}
    missing = [name for name in names if Path(name).stem.casefold() not in found]
    if missing:
        raise InputError(
            field="reference_images",
            value=folder,
            expected=f"the {len(names)} references that have scores, {len(missing)} are missing: {first_five(missing)}",
        )
    return [found[Path(name).stem.casefold()] for name in names]
