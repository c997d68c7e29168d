"""Baselines: simple measures of the same images, without training here. A network has to beat them.

NIQE is not among them. The maintained packages that compute it fetch its parameters from a hub when they run, and need
PyTorch.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import pickletools
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glintiqa_jax.data.digests import digest
from glintiqa_jax.data.files import write_csv
from glintiqa_jax.data.tables import read_table
from glintiqa_jax.errors import InputError
from glintiqa_jax.identity import digest as code_digest
from glintiqa_jax.progress import progress_bar

if TYPE_CHECKING:
    from glintiqa_jax.data.source import Source

Measure = Callable[[np.ndarray], float]

_SECONDS_BETWEEN_SAVES = 30.0
_SMALLEST_FOR_BRISQUE = 14  # pixels: it looks through a window of 7x7, the second time at half the size
_BRISQUE_FEATURES = 36


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A row of ``BASELINES``: a measure of quality that looks at nothing but the image.

    Attributes:
      title: what tables call it.
      higher_is_better: the direction of its values.
      package: the distribution that computes it, if it is not among our dependencies; else empty.
      load: gives the measure, of a uint8 RGB image ``(height, width, 3)``, whose value is not finite where the image is
        too small or too plain. ``ImportError`` or ``OSError`` where its package is missing or not as expected.
      source: whom to cite. extra: our extra that installs the package, ``pip install 'glintiqa-jax[extra]'``; empty for
        none.
    """

    title: str
    higher_is_better: bool
    package: str
    load: Callable[[], Measure]
    source: str
    extra: str = ""

    def identity(self) -> str:
        """Digest of the code of the module that computes it, and of its package's version."""
        try:
            version = importlib.metadata.version(self.package) if self.package else ""
        except importlib.metadata.PackageNotFoundError:
            version = "none"
        return code_digest((self.load.__qualname__, self.package, version), [self.load])


def check_baselines(names: Iterable[str]) -> None:
    """``InputError`` for a baseline that is unknown or cannot be loaded, before anything long starts."""
    for name in names:
        _load(name)


def baseline_values(
    source: Source,
    positions: np.ndarray,
    names: Sequence[str],
    folder: Path,
    *,
    progress: str = "",
) -> dict[str, np.ndarray]:
    """Each baseline's values of the images, higher is better, float64 ``(images,)``.

    A value is NaN where the baseline is undefined, as for an image that is too small or of one colour. Values are
    cached in a file of the source, with a column for each baseline and identity: an interrupted call resumes, and a
      baseline whose code or package has changed is computed again.

    Args:
      source: where the images are.
      positions: int ``(images,)``, which of them.
      names: keys of ``BASELINES``.
      folder: of the cache, ``baselines_*.csv``, with the values as the baselines give them.
      progress: the progress bar's title; no bar if empty.

    Raises:
      InputError: as ``check_baselines``, or when the file holds something else.
    """
    path, columns = cache_path(source, folder), {name: f"{name} {_find(name).identity()[:12]}" for name in names}
    known = _read(path)
    known |= {column: {} for column in columns.values() if column not in known}
    asked = {source.index.names[int(position)]: int(position) for position in positions}
    lacking = [image for image in asked if any(image not in known[column] for column in columns.values())]
    if lacking:
        incomplete = [name for name, column in columns.items() if any(image not in known[column] for image in lacking)]
        measures = {columns[name]: _load(name) for name in incomplete}
        saved = time.monotonic()
        try:
            for image in progress_bar(lacking, hidden=not progress, desc=progress, unit="image", leave=False):
                pixels = source[asked[image]]["image"]
                for column, measure in measures.items():
                    if image not in known[column]:
                        value = float(measure(pixels))
                        known[column][image] = value if math.isfinite(value) else math.nan
                if time.monotonic() - saved > _SECONDS_BETWEEN_SAVES:
                    _write(path, known)
                    saved = time.monotonic()
        finally:  # also after an interruption
            _write(path, known)
    images = [source.index.names[int(position)] for position in positions]
    return {
        name: (1 if BASELINES[name].higher_is_better else -1)
        * np.asarray([known[column][each] for each in images], float)
        for name, column in columns.items()
    }


def cache_path(source: Source, folder: Path) -> Path:
    """The cache of a source's baselines, named after its identity and the size of its images."""
    seen = digest([source.identity, *(part.max_short_side for part in source.parts)])
    return folder / f"baselines_{seen[:12]}.csv"


def _find(name: str) -> Baseline:
    if name not in BASELINES:
        raise InputError(field="baselines", expected=f"names of {', '.join(BASELINES)}", found=repr(name))
    return BASELINES[name]


def _load(name: str) -> Measure:
    baseline = _find(name)
    try:
        return baseline.load()
    except (ImportError, OSError) as error:
        raise InputError(
            field="baselines",
            value=name,
            expected="the package that computes it",
            found=f"none ({error})",
            hint=f"pip install 'glintiqa-jax[{baseline.extra}]'"
            if baseline.extra
            else f"pip install {baseline.package}",
        ) from error


def _laplacian_variance(image: np.ndarray) -> float:
    import cv2

    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def _brisque() -> Measure:
    """The package's evaluator, with two changes to version 0.2.0."""
    import brisque
    import brisque.models
    from libsvm import svmutil

    folder = Path(brisque.models.MODEL_PATH)

    class Evaluator(brisque.BRISQUE):
        def __init__(self) -> None:
            """The package executes the pickle with the features' ranges; here it is only parsed."""
            self.url = False
            self.model = svmutil.svm_load_model(str(folder / "svm.txt"))
            instructions = pickletools.genops((folder / "normalize.pickle").read_bytes())
            ranges = [value for code, value, _ in instructions if code.name == "BINFLOAT"]
            if len(ranges) != 2 * _BRISQUE_FEATURES:
                raise ImportError(f"its ranges of features are {len(ranges)} numbers, not {2 * _BRISQUE_FEATURES}")
            self.scale_params = {"min_": ranges[:_BRISQUE_FEATURES], "max_": ranges[_BRISQUE_FEATURES:]}

        def scale_features(self, features: np.ndarray) -> np.ndarray:
            """Some features are arrays ``(1,)``, which NumPy 2.4 no longer converts to numbers."""
            return super().scale_features([np.ravel(feature)[0] for feature in features])

    evaluator = Evaluator()

    def measure(image: np.ndarray) -> float:
        with np.errstate(all="ignore"):  # divisions by zero where all is one colour: the value is NaN
            return evaluator.score(image) if min(image.shape[:2]) >= _SMALLEST_FOR_BRISQUE else math.nan

    return measure


BASELINES: dict[str, Baseline] = {
    "laplacian_variance": Baseline(
        title="variance of the Laplacian",
        higher_is_better=True,
        package="",
        load=lambda: _laplacian_variance,
        source="Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy: a comparative study, ICPR 2000",
    ),
    "brisque": Baseline(
        title="BRISQUE",
        higher_is_better=False,
        package="brisque",
        load=_brisque,
        source="Mittal et al., No-reference image quality assessment in the spatial domain, IEEE TIP 21(12), 2012",
        extra="baselines",
    ),
}


def _read(path: Path) -> dict[str, dict[str, float]]:
    """The values of each column by image name, with columns that are not asked for."""
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
                place = f"{path}, line {line}, {column!r}"
                raise InputError(file=place, expected="a number", found=repr(text)) from error
    return known


def _write(path: Path, known: dict[str, dict[str, float]]) -> None:
    columns = [column for column, values in known.items() if values]
    images = dict.fromkeys(image for column in columns for image in known[column])
    if images:
        rows = ([image, *(repr(known[c][image]) if image in known[c] else "" for c in columns)] for image in images)
        write_csv(path, ["name", *columns], rows)
