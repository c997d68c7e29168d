"""One configuration: its fields are the flags, and what cannot work is refused by flag."""

import dataclasses
from typing import get_type_hints

import pytest
from absl import flags
from glintiqa_jax.training.config import DataConfig, TrainConfig, differences, from_json, to_json

from glintiqa_jax.cli.flags import Flags, define_experiment, train_config
from glintiqa_jax.errors import UserError
from glintiqa_jax.models.glintiqa import GlintIQAConfig


def parse(*arguments: str) -> TrainConfig:
    values = Flags()
    define_experiment(values)
    values(["train.py", *arguments])
    return train_config(values)


def test_json_round_trip_and_differences():
    config = parse("--variant=glintiqa_tiny", "--dataset=csv", "--images=a", "--scores=b", "--score_range=1,5")
    assert from_json(to_json(config)) == config
    assert differences(config, config) == []
    other = dataclasses.replace(config, seed=7, data=dataclasses.replace(config.data, max_short_side=99))
    assert differences(config, other) == ["data.max_short_side: 0 here, 99 there", "seed: 0 here, 7 there"]
    with pytest.raises(UserError, match="does not know: dropout"):
        from_json(to_json(config) | {"dropout": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model_crop_size=100"], "--model_crop_size must be a positive multiple of patch_size 16, found 100"),
        (["--dataset=csv", "--scores=x"], "--images: needed with --dataset=csv"),
        (["--dataset=csv", "--images=x"], "--scores: needed with --dataset=csv"),
        (["--score_range=1"], "--score_range: expected lowest,highest, found 1"),
        (["--batch_size=0"], "--batch_size: expected 1 or more, found 0"),
        (["--learning_rate=-1"], "--learning_rate: expected a positive number"),
        (["--validation_fraction=1"], "--validation_fraction: expected a share from 0 to below 1, found 1"),
        (["--validation_fraction=0.6", "--test_fraction=0.4"], "--validation_fraction, --test_fraction"),
        (["--steps=50"], "--warmup_steps: expected fewer than the 50 steps"),
        (["--max_short_side=-1"], "--max_short_side: expected 0 or more"),
        (["--save_minutes=-1"], "--save_minutes: expected 0 or more, found -1"),
        (["--save_every=-1"], "--save_every: expected 0 or more, found -1"),
        *[
            ([f"--dataset=koniq10k:{weight},kadid10k:1"], f"expected a weight from 0.0001 to 10000 .* found '{weight}'")
            for weight in ("1e-320", "1e400", "nan", "-1", "0", "1e9")
        ],
    ],
)
def test_impossible_values_are_refused_by_flag(arguments, message):
    with pytest.raises(UserError, match=message):
        parse(*arguments)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e-320", "1e400", "1e39", "1e-39"])
@pytest.mark.parametrize(
    "flag", ["learning_rate", "weight_decay", "clip_norm", "ema_decay", "save_minutes", "test_fraction"]
)
def test_a_number_that_32_bits_do_not_hold_is_refused_by_flag(flag, number):
    with pytest.raises(UserError, match=rf"--{flag}: expected a number from 1.2e-38 to 3.4e\+38 in size, or 0, found"):
        parse(f"--{flag}={number}")


@pytest.mark.parametrize(
    "flag", ["steps", "seed", "batch_size", "eval_every", "split_seed", "split_round", "num_workers"]
)
def test_a_count_that_32_bits_do_not_hold_is_refused_by_flag(flag):
    for number in ("99999999999", "-99999999999", "4294967296", str(10**30)):
        with pytest.raises(UserError, match=f"{flag}: expected a whole number up to 2147483647, found {number}"):
            parse(f"--{flag}={number}")


def test_no_number_is_a_traceback():
    """Of any field of a number: a configuration, or one error that names the flag."""
    kinds = {DataConfig: "", TrainConfig: "", GlintIQAConfig: "model_"}
    hints = {prefix + name: kind for owner, prefix in kinds.items() for name, kind in get_type_hints(owner).items()}
    said = []
    for flag in sorted(name for name, kind in hints.items() if kind in (int, float)):
        for number in ("-0", "-1", "0", "2147483647", "1e-45", "1e308", "nan", "-inf"):
            try:
                parse(f"--{flag}={number}")
            except (UserError, flags.Error) as error:
                said.append(str(error))
    assert all("--" in line for line in said)


@pytest.mark.parametrize(
    "argument",
    ["--stepps=3", "--variant=huge", "--steps=many", "--score_range=low,high", "--loss=l7"],
)
def test_unknown_flags_and_values_are_refused(argument):
    with pytest.raises((flags.Error, UserError), match=argument.split("=")[0].strip("-")):
        parse(argument)
