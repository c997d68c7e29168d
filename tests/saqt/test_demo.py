"""The embedded dataset: what it is made of, and where its labels come from."""

import csv
from collections import defaultdict

import numpy as np
import pytest

from glintiqa_jax.data.images import decode_image
from glintiqa_jax.saqt import demo
from glintiqa_jax.saqt.distortions import DISTORTIONS, distort
from glintiqa_jax.saqt.generation import COLOUR_ONLY
from glintiqa_jax.saqt.kadid_scores import MEAN_SCORES
from glintiqa_jax.saqt.scenes import dead_leaves


@pytest.fixture
def contents():
    return list(demo._contents())


def test_labels_are_kadids_means(shared):
    scores = defaultdict(list)
    with (shared / "scores" / "kadid10k" / "dmos.csv").open() as file:
        for row in csv.DictReader(file):
            _, kind, level = row["dist_img"].removesuffix(".png").split("_")
            scores[int(kind), int(level)].append(float(row["dmos"]))
    assert len(scores) == MEAN_SCORES.size == 125
    for (kind, level), values in scores.items():
        assert MEAN_SCORES[kind - 1, level - 1] == pytest.approx(np.mean(values), abs=5.1e-5)


def test_test_content_is_photographs_and_nothing_is_in_two_parts(contents):
    names = [content.name for content in contents]
    assert len(set(names)) == len(names)
    test = [content for content in contents if content.split == "test"]
    assert {content.name for content in test} == {
        "astronaut.png",
        "chelsea.png",
        "coffee.png",
        "motorcycle_left.png",
    }
    validation = [content for content in contents if content.split == "validation"]
    assert {content.name for content in validation} == {"grace_hopper.jpg", "rocket.jpg"}
    assert all(len(content.distortions) == 125 for content in test + validation)


def test_grey_photographs_carry_no_label_for_what_does_not_show(contents):
    """A label of "much too colourful" on an image that no colour was added to would teach nonsense."""
    photographs = [content for content in contents if not content.name.startswith("scene_")]
    for content in photographs:
        pixels = content.pixels()
        grey = np.ptp(pixels.astype(int), axis=-1).max() == 0
        colour_only = {kind for kind, _ in content.distortions if DISTORTIONS[kind - 1].name in COLOUR_ONLY}
        assert len(colour_only) == (0 if grey else 3), content.name
        if grey:
            for name in COLOUR_ONLY:
                assert np.abs(distort(pixels, name, 5, rescale=False).astype(int) - pixels).max() <= 2


def test_every_content_can_be_seen(contents):
    for content in contents[:8] + contents[8::80]:
        pixels = content.pixels()
        assert pixels.dtype == np.uint8
        assert min(pixels.shape[:2]) >= 128
        assert pixels.std() > 10, f"{content.name} is flat"


def test_images_are_distorted_and_labelled(contents):
    photograph, scene = contents[0], contents[-1]
    collection = demo.read_demo()
    assert collection.size == sum(len(content.distortions) for content in contents)
    for content in (photograph, scene):
        images = demo._distort_content(content)
        again = demo._distort_content(content)
        assert [image.image for image in images] == [image.image for image in again]
        for image in images[:: len(images) // 6]:
            assert image.raw_score == MEAN_SCORES[image.distortion_type - 1, image.distortion_level - 1]
            assert (image.group, image.split) == (content.name, content.split)
            assert decode_image(image.image, image.name).shape == content.pixels().shape
    noise = next(image for image in demo._distort_content(photograph) if image.distortion_type == 1)
    expected = distort(photograph.pixels(), "gaussian_blur", noise.distortion_level)
    np.testing.assert_array_equal(decode_image(noise.image, noise.name), expected)


def test_the_demos_photographs_come_without_its_scenes(contents):
    whole, photographs = demo.read_demo(), demo.read_demo("demo_photographs")
    assert photographs.size == whole.size - 25 * sum(content.name.startswith("scene_") for content in contents)
    assert photographs.identity != whole.identity


def test_every_scene_has_every_type_and_all_levels_are_used(contents):
    scenes = [content for content in contents if content.name.startswith("scene_")]
    assert all([kind for kind, _ in s.distortions] == [d.number for d in DISTORTIONS] for s in scenes)
    levels = np.array([[level for _, level in scene.distortions] for scene in scenes])
    assert all(set(column) == {1, 2, 3, 4, 5} for column in levels.T)


def test_scenes_are_functions_of_their_seed():
    first, again, other = dead_leaves(96, seed=1), dead_leaves(96, seed=1), dead_leaves(96, seed=2)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 10


def amplitude_slope(images):
    """Slope of log amplitude against log frequency, over all directions, of square uint8 images of one size."""
    side = images[0].shape[0]
    window = np.outer(np.hanning(side), np.hanning(side))
    spectra = []
    for image in images:
        grey = image.mean(axis=-1)
        spectra.append(np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2)
    frequency = np.fft.fftfreq(side) * side
    radius = np.rint(np.hypot(*np.meshgrid(frequency, frequency))).astype(int).ravel()
    power = np.bincount(radius, np.mean(spectra, axis=0).ravel()) / np.bincount(radius)
    band = np.arange(4, side // 3)
    return np.polyfit(np.log(band), np.log(power[band]), 1)[0] / 2


@pytest.mark.slow
def test_scenes_have_the_spectrum_of_photographs(contents):
    """Amplitude falls as a power of frequency, no flatter and no steeper than among the photographs themselves."""
    photographs = [content.pixels()[:160, :160] for content in contents if content.split != "train"]
    slopes = [amplitude_slope([pixels]) for pixels in photographs]
    scenes = [content.pixels() for content in contents if content.name.startswith("scene_")][::8]
    assert min(slopes) < amplitude_slope(scenes) < max(slopes)
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    assert amplitude_slope([noise]) > max(slopes)
