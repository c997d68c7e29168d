"""What a model does with photographs of some kinds, and with images that are no photographs.

    python benchmarks/biases.py --predictions=runs/shipped/predictions_validation.csv --images=BIQ2021/Images
    python benchmarks/biases.py --predictions=runs/mine/predictions_test.csv --images=DIR --model=runs/mine

Prints two Markdown tables. The first has, for each kind of the photographs that were predicted, how many there are, the
SROCC among them with a 95 % interval by a bootstrap, and the mean of prediction minus score in the unit of the scores:
a kind that is scored too high has a positive one. A photograph's kind is measured on its pixels; a face is found by
scikit-image's cascade of local binary patterns, which misses some and sees others. The second table has the scores of
images that the script draws, and of the photographs shrunk and enlarged again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import skimage
from absl import flags
from PIL import Image, ImageDraw
from script import run_script
from skimage.feature import Cascade
from tqdm import tqdm

import glintiqa_jax as giq
from glintiqa_jax.data.images import decode_image, resized
from glintiqa_jax.data.tables import read_numbers
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.metrics import srocc
from glintiqa_jax.evaluation.significance import bootstrap_interval
from glintiqa_jax.saqt.scenes import dead_leaves

_PREDICTIONS = flags.DEFINE_string("predictions", None, "predictions_*.csv of a run", required=True)
_IMAGES = flags.DEFINE_string("images", None, "folder of the photographs in it", required=True)
_MODEL = flags.DEFINE_string("model", "", "the model that predicted them; none: the one that ships")

_FEWEST = 20  # photographs of a kind
_SHRUNK = 50  # photographs that are shrunk and enlarged
_SIDE = 512  # of what is drawn


def main() -> None:
    """The command."""
    rows = read_numbers(Path(_PREDICTIONS.value), "name", ["predicted", "score"])
    paths = [Path(_IMAGES.value, name) for name in rows]
    if missing := [path for path in paths if not path.is_file()]:
        raise InputError(field="images", expected=f"{len(paths)} photographs, such as {missing[0]}", found="none there")
    predicted, score = np.array(list(rows.values())).T
    kinds: dict[str, list[bool]] = {}
    faces = Cascade(skimage.data.lbp_frontal_face_cascade_filename())
    for path in tqdm(paths, unit="photo"):
        for kind, holds in _kinds(decode_image(path.read_bytes(), path.name), faces):
            kinds.setdefault(kind, []).append(holds)
    print("| photographs | how many | SROCC | predicted minus scored |\n|---|---|---|---|")
    for kind, holds in kinds.items():
        mine = np.array(holds)
        if mine.sum() >= _FEWEST:
            found = bootstrap_interval(srocc, predicted[mine], score[mine])
            within = f"{found.estimate:.3f} ({found.low:.3f} to {found.high:.3f})"
            print(f"| {kind} | {mine.sum()} | {within} | {(predicted - score)[mine].mean():+.3f} |")
    model = giq.load_model(_MODEL.value or None)
    print(f"\n| image | score, {model.card.scale.describe()} |\n|---|---|")
    for name, image in _drawn():
        print(f"| {name} | {model.score(image).value:.3f} |")
    some = [decode_image(path.read_bytes(), path.name) for path in paths[:_SHRUNK]]
    for factor in (1, 2, 4, 8):
        images = [resized(resized(image, _shrunk(image, factor)), image.shape[:2]) for image in some]
        mean = np.mean([found.value for found in model.score_many(images)])
        print(f"| mean of {len(some)} photographs, 1/{factor} of their pixels a side | {mean:.3f} |")


def _kinds(image: np.ndarray, faces: Cascade) -> Iterator[tuple[str, bool]]:
    """Each kind, and whether an image, uint8 ``(height, width, 3)``, is of it."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    chroma = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., 1:].astype(float) - 128
    colour = np.hypot(chroma[..., 0], chroma[..., 1]).mean()
    yield "all", True
    yield "dark: mean luma below 60 of 255", luma.mean() < 60
    yield "bright: above 180", luma.mean() > 180
    yield "of low contrast: deviation of the luma below 35", luma.std() < 35
    yield "grey or nearly: mean chroma below 4", colour < 4
    yield "of strong colours: above 30", colour > 30
    yield "without detail: variance of the Laplacian below 50", cv2.Laplacian(luma, cv2.CV_64F).var() < 50
    small = resized(image, _shrunk(image, max(image.shape) / 256))
    found = faces.detect_multi_scale(small, scale_factor=1.2, step_ratio=1, min_size=(32, 32), max_size=(200, 200))
    yield "with a face", bool(found)


def _shrunk(image: np.ndarray, factor: float) -> tuple[int, int]:
    height, width = (max(round(side / factor), 1) for side in image.shape[:2])
    return height, width


def _drawn() -> Iterator[tuple[str, np.ndarray]]:
    """Images that are no photographs, uint8 ``(side, side, 3)``."""
    yield "nothing but grey", np.full((_SIDE, _SIDE, 3), 128, np.uint8)
    ramp = np.linspace(0, 255, _SIDE).astype(np.uint8)
    yield "a gradient", np.broadcast_to(ramp[:, None, None], (_SIDE, _SIDE, 3)).copy()
    yield "noise", np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
    yield "dead leaves: overlapping discs", dead_leaves(_SIDE, seed=0)
    page = Image.new("RGB", (_SIDE, _SIDE), "white")
    for line in range(10, _SIDE - 10, 16):
        ImageDraw.Draw(page).text((12, line), "The quick brown fox jumps over the lazy dog. " * 3, fill="black")
    yield "a page of text", np.asarray(page)
    drawing = Image.new("RGB", (_SIDE, _SIDE), "skyblue")
    draw = ImageDraw.Draw(drawing)
    draw.rectangle((0, 340, _SIDE, _SIDE), fill="limegreen")
    draw.ellipse((390, 40, 470, 120), fill="gold")
    draw.rectangle((130, 220, 330, 400), fill="firebrick", outline="black", width=4)
    draw.polygon([(110, 220), (230, 110), (350, 220)], fill="saddlebrown", outline="black", width=4)
    yield "a drawing in flat colours", np.asarray(drawing)


if __name__ == "__main__":
    run_script(main)
