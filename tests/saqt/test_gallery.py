"""The gallery of distortions: what is on it, and where."""

import io
import itertools

import numpy as np
import PIL.Image
import pytest
import skimage.data
from matplotlib.figure import Figure

from glintiqa_jax.data.files import save_figure
from glintiqa_jax.saqt.distortions import DISTORTIONS, distort
from glintiqa_jax.saqt.gallery import draw_gallery


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("rescale", [True, False])
def test_every_type_and_level_is_there_in_its_place(tmp_path, rescale):
    photograph = skimage.data.astronaut()[:60, 100:180]
    figure = draw_gallery(photograph, seed=4, rescale=rescale)
    save_figure(figure, tmp_path / "gallery.png")
    picture = np.asarray(PIL.Image.open(tmp_path / "gallery.png").convert("RGB"))
    tops = np.array([len(picture) - image.oy - 60 for image in figure.images], int)
    lefts = np.array([image.ox for image in figure.images], int)
    shown = [picture[top : top + 60, left : left + 80] for top, left in zip(tops, lefts, strict=True)]
    pristine, *tiles = shown
    np.testing.assert_array_equal(pristine, photograph)
    for tile, (row, level) in zip(tiles, itertools.product(DISTORTIONS, range(1, 6)), strict=True):
        np.testing.assert_array_equal(tile, distort(photograph, row.number, level, seed=4, rescale=rescale))
    # a row for each type, a column for each level
    np.testing.assert_array_equal(tops[1:].reshape(25, 5), np.repeat(tops[1::5], 5).reshape(25, 5))
    np.testing.assert_array_equal(lefts[1:].reshape(25, 5), np.tile(lefts[1:6], (25, 1)))
    assert (np.diff([tops[0], *tops[1::5]]) >= 60).all()
    assert (np.diff(lefts[1:6]) >= 80).all()


def test_rows_and_tiles_are_labelled():
    found = texts(draw_gallery(skimage.data.astronaut()))
    assert found.index("pristine") == 0
    for row in DISTORTIONS:
        start = found.index(f"{row.number} {row.name}")
        assert found[start + 1].replace("\n", " ") == row.definition
        captions = [f"level {level}: {parameter:g}" for level, parameter in enumerate(row.levels, start=1)]
        assert found[start + 2 : start + 7] == captions


@pytest.mark.parametrize("size", [(3000, 4000), (700, 90), (32, 2000)])
def test_any_size_makes_a_moderate_picture(size):
    rng = np.random.default_rng(0)
    photograph = rng.integers(0, 256, (*size, 3), np.uint8)
    figure = draw_gallery(photograph)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    width, height = PIL.Image.open(buffer).size
    assert 600 < width <= 1200
    assert 2000 < height <= 4600


def test_texts_keep_off_the_tiles_and_one_another():
    figure = draw_gallery(skimage.data.astronaut()[:32, :32])
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.texts]
    for position, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert not box.count_overlaps(boxes[position + 1 :]), figure.texts[position].get_text()


def test_an_image_that_is_none_is_refused():
    with pytest.raises(ValueError, match="at least 32"):
        draw_gallery(np.zeros((31, 40, 3), np.uint8))
