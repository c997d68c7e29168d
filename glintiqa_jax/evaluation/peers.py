"""What simple measures that need no training here say of the same images: what a network has to beat.

NIQE is not among them. The maintained packages that compute it fetch its parameters from a hub when they run, and need
PyTorch.
"""

from __future__ import annotations

import dataclasses
import math
import pickletools
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from glintiqa_jax.data.files import write_csv
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.tables import read_table
from glintiqa_jax.errors import UserError
from glintiqa_jax.progress import progress_bar

Measure = Callable[[np.ndarray], float]

_SECONDS_BETWEEN_SAVES = 30.0
_SMALLEST_FOR_BRISQUE = 14  # pixels: it looks through a window of 7x7, the second time at half the size
_BRISQUE_FEATURES = 36


@dataclasses.dataclass(frozen=True)
class Peer:
    """A measure of quality that looks at nothing but the image.

    Attributes:
      title: what tables call it.
      higher_is_better: the direction of its values.
      extra: what to install for it, ``pip install 'glintiqa-jax[extra]'``; empty where nothing is needed.
      load: gives the measure, of a uint8 RGB image ``(height, width, 3)``, whose value is not finite where the image is
        too small or too plain. ``ImportError`` or ``OSError`` where its package is missing or not as expected.
      source: whom to cite.
    """

    title: str
    higher_is_better: bool
    extra: str
    load: Callable[[], Measure]
    source: str


def check_peers(names: Iterable[str]) -> None:
    """Before anything long starts: ``UserError`` for a peer that is unknown, or that cannot be loaded."""
    for name in names:
        _load(name)


def peer_values(
    source: Source,
    positions: np.ndarray,
    names: Sequence[str],
    path: Path,
    *,
    progress: str = "",
) -> dict[str, np.ndarray]:
    """What each peer says of each image, higher is better, float64 ``(images,)``.

    A value is NaN where a peer has none, as the image is too small for it or one colour. Only what the file lacks is
    computed, so that a call that was interrupted goes on.

    Args:
      source: where the images are.
      positions: int ``(images,)``, which of them.
      names: keys of ``PEERS``.
      path: a CSV file of the values by image name, as the peers give them; written, and completed where it exists. An
        image is known by its name alone, so a file is of one source, at one ``max_short_side``.
      progress: what the progress bar says; none is shown when empty.

    Raises:
      UserError: as ``check_peers``, or when the file holds something else.
    """
    known = _read(path)
    known |= {name: {} for name in names if name not in known}
    asked = {source.index.names[int(position)]: int(position) for position in positions}
    lacking = [image for image in asked if any(image not in known[name] for name in names)]
    if lacking:
        measures = {name: _load(name) for name in names if any(image not in known[name] for image in lacking)}
        saved = time.monotonic()
        try:
            for image in progress_bar(lacking, hidden=not progress, desc=progress, unit="image", leave=False):
                pixels = source[asked[image]]["image"]
                for name, measure in measures.items():
                    if image not in known[name]:
                        value = float(measure(pixels))
                        known[name][image] = value if math.isfinite(value) else math.nan
                if time.monotonic() - saved > _SECONDS_BETWEEN_SAVES:
                    _write(path, known)
                    saved = time.monotonic()
        finally:  # what is there is kept when the person stops it, too
            _write(path, known)
    images = [source.index.names[int(position)] for position in positions]
    signs = {name: 1.0 if _peer(name).higher_is_better else -1.0 for name in names}
    return {name: signs[name] * np.asarray([known[name][image] for image in images], np.float64) for name in names}


def _peer(name: str) -> Peer:
    if name not in PEERS:
        raise UserError(f"--peers: expected names of {', '.join(PEERS)}, found {name!r}")
    return PEERS[name]


def _load(name: str) -> Measure:
    peer = _peer(name)
    try:
        return peer.load()
    except (ImportError, OSError) as error:
        raise UserError(
            f"--peers={name}: expected the package that computes it, found none ({error}); "
            f"pip install 'glintiqa-jax[{peer.extra}]'"
        ) from error


def _laplacian_variance(image: np.ndarray) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def _brisque() -> Measure:
    """The package's evaluator, but for two things of version 0.2.0 that are not for us."""
    import brisque
    import brisque.models
    from libsvm import svmutil

    folder = Path(brisque.models.MODEL_PATH)

    class Evaluator(brisque.BRISQUE):
        def __init__(self) -> None:
            """As the package's own, which executes the pickle with the features' ranges; here it is only read."""
            self.url = False
            self.model = svmutil.svm_load_model(str(folder / "svm.txt"))
            instructions = pickletools.genops((folder / "normalize.pickle").read_bytes())
            ranges = [value for code, value, _ in instructions if code.name == "BINFLOAT"]
            if len(ranges) != 2 * _BRISQUE_FEATURES:
                raise ImportError(f"its ranges of features are {len(ranges)} numbers, not {2 * _BRISQUE_FEATURES}")
            self.scale_params = {"min_": ranges[:_BRISQUE_FEATURES], "max_": ranges[_BRISQUE_FEATURES:]}

        def scale_features(self, features: np.ndarray) -> np.ndarray:
            """Some features are arrays ``(1,)``, which NumPy takes for numbers no longer, since 2.4."""
            return super().scale_features([np.ravel(feature)[0] for feature in features])

    evaluator = Evaluator()

    def measure(image: np.ndarray) -> float:
        with np.errstate(all="ignore"):  # divisions by zero where all is one colour: the value is NaN
            return evaluator.score(image) if min(image.shape[:2]) >= _SMALLEST_FOR_BRISQUE else math.nan

    return measure


PEERS: dict[str, Peer] = {
    "laplacian_variance": Peer(
        title="variance of the Laplacian",
        higher_is_better=True,
        extra="",
        load=lambda: _laplacian_variance,
        source="Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy: a comparative study, ICPR 2000",
    ),
    "brisque": Peer(
        title="BRISQUE",
        higher_is_better=False,
        extra="peers",
        load=_brisque,
        source="Mittal et al., No-reference image quality assessment in the spatial domain, IEEE TIP 21(12), 2012",
    ),
}


def _read(path: Path) -> dict[str, dict[str, float]]:
    """The values of each column by image name; those of peers that are not asked for are kept for others."""
    known: dict[str, dict[str, float]] = {}
    if not path.exists():
        return known
    for line, row in read_table(path, ["name"]).rows:
        for column, text in row.items():
            if column == "name" or not text:
                continue
            try:
                known.setdefault(column, {})[row["name"]] = float(text)
            except ValueError as error:
                raise UserError(f"{path}, line {line}, {column!r}: expected a number, found {text!r}") from error
    return known


def _write(path: Path, known: dict[str, dict[str, float]]) -> None:
    columns = [column for column, values in known.items() if values]
    images = dict.fromkeys(image for column in columns for image in known[column])
    if images:
        rows = ([image, *(repr(known[c][image]) if image in known[c] else "" for c in columns)] for image in images)
        write_csv(path, ["name", *columns], rows)
