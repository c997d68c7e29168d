"""What the data's settings refuse, before anything is read."""

import pytest

from glintiqa_jax.datasets.config import DataConfig
from glintiqa_jax.errors import InputError
from glintiqa_jax.settings import from_json, replace, settings, to_json

OWN = {"dataset": "csv", "images": "a", "scores": "b"}


def test_settings_have_names_of_their_own_and_survive_json():
    names = [field.name for _, field, _ in settings(DataConfig())]
    assert len(set(names)) == len(names)
    config = replace(DataConfig(), **OWN, score_range=(1.0, 5.0), group_column="scene", split_seed=3)
    assert (config.own.columns.group_column, config.split.split_seed) == ("scene", 3)
    assert from_json(DataConfig, to_json(config)) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset": "csv", "scores": "x"}, "images: needed with `dataset='csv'`"),
        ({"dataset": "csv", "images": "x"}, "scores: needed with `dataset='csv'`"),
        ({"images": "x"}, "images: needs `dataset='csv'`, found `dataset='demo'`"),
        ({"std_column": "sd", "dataset": "bid"}, "std_column: needs `dataset='csv'`, found `dataset='bid'`"),
        (OWN | {"score_range": (1.0,)}, "score_range: expected lowest,highest, found 1 numbers"),
        (OWN | {"score_range": (5.0, 1.0)}, "score_range=5,1: expected a lowest score below the highest"),
        (OWN | {"split_by": "published"}, "split_by=published: csv comes without a split unless `split_column`"),
        ({"validation_fraction": 1.0}, "validation_fraction: expected a share from 0 to below 1, found 1.0"),
        ({"test_fraction": float("nan")}, "test_fraction: expected a share between 0 and 1, found nan"),
        ({"validation_fraction": 0.6, "test_fraction": 0.4}, "validation_fraction: expected together with"),
        ({"split_seed": 2**40}, "split_seed: expected 0 or more, in 32 bits, found"),
        ({"max_side": -1}, "max_side: expected 0 or more, found -1"),
        ({"data_dir": "gs://bucket"}, "data_dir=gs://bucket: demo is prepared on this machine"),
        *[
            (
                {"dataset": f"koniq10k:{weight},kadid10k:1"},
                f"expected a weight from 0.0001 to 10000 .* found '{weight}'",
            )
            for weight in ("1e-320", "1e400", "nan", "-1", "0", "1e9")
        ],
    ],
)
def test_impossible_values_are_refused_by_field(values, message):
    with pytest.raises(InputError, match=message):
        replace(DataConfig(), **values)
