"""One description of a network: what makes none is refused by setting, presets are values, and a report can name it."""

import pytest

from glintiqa_jax import settings
from glintiqa_jax.errors import InputError
from glintiqa_jax.models.backbones import BACKBONES
from glintiqa_jax.models.config import VARIANTS, ModelConfig, describe, variant_config

LITE = BACKBONES["efficientnet_lite0"]()


@pytest.mark.parametrize(
    ("replaced", "field"),
    [
        ({"crop_size": 100}, "crop_size"),
        ({"patch_size": 8}, "patch_size"),
        ({"width": 50}, "width"),
        ({"vit_heads": 0}, "vit_heads"),
        ({"tapped_blocks": (3, 2)}, "tapped_blocks"),
        ({"tapped_blocks": ()}, "tapped_blocks"),
        ({"embedded_stages": (0,)}, "embedded_stages"),
        ({"embedded_stages": (1, 4), "patch_size": 32}, "embedded_stages"),
        ({"embedded_stages": (1, 4), "cnn": LITE}, "embedded_stages"),  # the fourth is coarser than the tokens
        ({"vit_stem": -1}, "vit_stem"),
        ({"vit_stem": 4}, "vit_stem"),
        ({"vit_stem": 1, "cnn": None}, "vit_stem"),
        ({"resnet_blocks": (1, 1)}, "resnet_blocks"),
        ({"vit": None, "cnn": None}, "vit"),
        ({"attention_layout": "upright"}, "attention_layout"),
        ({"head_dropout": 1.0}, "head_dropout"),
        ({"hidden_size": 3}, "hidden_size"),
    ],
    ids=str,
)
def test_impossible_networks_are_refused_by_setting(replaced, field):
    with pytest.raises(InputError) as caught:
        variant_config("glintiqa_s16_r50", **replaced)
    assert caught.value.field == field


def test_an_unknown_variant_is_told_the_known():
    with pytest.raises(InputError, match=r"variant: expected one of glintiqa_s16_r50, .*, found 'glintiqa_huge'"):
        variant_config("glintiqa_huge")


@pytest.mark.parametrize(
    ("config", "name"),
    [
        *[(config, name) for name, config in VARIANTS.items()],
        (variant_config("glintiqa_mini", crop_size=96), "glintiqa_mini, crop_size 96"),
        (
            variant_config("glintiqa_lite", cnn=None, vit_stem=0, tapped_blocks=(2, 3)),
            "glintiqa_lite, vit_stem 0, tapped_blocks 2,3, cnn none",
        ),
        (variant_config("glintiqa_mini", cnn=LITE), "glintiqa_mini, cnn efficientnet_lite0"),
        (variant_config("glintiqa_lite", vit_stem=1), "glintiqa_lite, vit_stem 1"),
    ],
    ids=str,
)
def test_a_network_is_described_and_comes_back_from_json(config, name):
    assert describe(config) == name
    assert settings.from_json(ModelConfig, settings.to_json(config)) == config


def test_names_are_unique_over_all_kinds():
    parts = [VARIANTS["glintiqa_mini"], *(ModelConfig(cnn=kind()) for kind in BACKBONES.values())]
    paths = {path for part in parts for path, _, _ in settings.settings(part)}
    assert len({path.split(".")[-1] for path in paths}) == len(paths)
