"""One configuration: its fields are the flags, and what cannot work is refused by flag."""

import dataclasses
from pathlib import Path
from typing import get_type_hints

import pytest
from absl import flags

from glintiqa_jax.errors import UserError
from glintiqa_jax.models.glintiqa import VARIANTS, GlintIQAConfig
from glintiqa_jax.training.config import TrainConfig, differences, from_json, to_json
from glintiqa_jax.training.flags import define_train_flags, train_config

ROOT = Path(__file__).resolve().parents[2]


def parse(*arguments: str) -> TrainConfig:
    values = flags.FlagValues()
    define_train_flags(values)
    flags.DEFINE_string("workdir", None, "of the commands", flag_values=values)
    values(["train.py", *arguments])
    return train_config(values)


def test_without_flags_the_defaults_hold():
    assert parse() == TrainConfig()


def test_every_field_is_a_flag():
    config = parse(
        "--dataset=csv",
        "--images=photos",
        "--scores=scores.csv",
        "--score_range=0,100",
        "--lower_is_better",
        "--variant=glintiqa_tiny",
        "--model_tapped_blocks=1,3",
        "--nomodel_use_siem",
        "--learning_rate=0.01",
        "--steps=500",
    )
    assert config.data.own.score_range == (0.0, 100.0)
    assert config.data.own.lower_is_better
    assert config.model == dataclasses.replace(VARIANTS["glintiqa_tiny"], tapped_blocks=(1, 3), use_siem=False)
    assert (config.learning_rate, config.steps) == (0.01, 500)
    values = flags.FlagValues()
    define_train_flags(values)
    for kind, prefix in ((TrainConfig, ""), (GlintIQAConfig, "model_")):
        for field in dataclasses.fields(kind):
            if field.name not in ("data", "model"):
                assert values[prefix + field.name].help


def test_flagfiles_compose(tmp_path):
    (tmp_path / "base.flags").write_text("# a comment\n--variant=glintiqa_tiny\n--steps=300\n--seed=3\n")
    (tmp_path / "more.flags").write_text(f"--flagfile={tmp_path}/base.flags\n--steps=400\n")
    config = parse(f"--flagfile={tmp_path}/more.flags", "--seed=4")
    assert (config.variant, config.steps, config.seed) == ("glintiqa_tiny", 400, 4)


@pytest.mark.parametrize("path", sorted((ROOT / "experiments" / "flags").glob("*.flags")), ids=lambda path: path.stem)
def test_every_file_of_flags_is_an_experiment(path, monkeypatch):
    monkeypatch.chdir(ROOT)  # where commands are started: they name each other from there
    own = ["--images=photos", "--scores=scores.csv"] if "own_data" in path.stem else []
    config = parse(f"--flagfile={path}", *own)
    assert config != TrainConfig()
    if path.stem == "released_protocol":
        assert (config.optimizer, config.selection, config.eval_random_crops) == ("adam_l2", "test_best", 25)
        assert (config.data.split.validation_fraction, config.data.split.test_fraction) == (0, 0.2)


def test_json_round_trip_and_differences():
    config = parse("--variant=glintiqa_tiny", "--dataset=csv", "--images=a", "--scores=b", "--score_range=1,5")
    assert from_json(to_json(config)) == config
    assert differences(config, config) == []
    other = dataclasses.replace(config, seed=7, max_short_side=99)
    assert differences(config, other) == ["max_short_side: 0 here, 99 there", "seed: 0 here, 7 there"]
    with pytest.raises(UserError, match="does not know: dropout"):
        from_json(to_json(config) | {"dropout": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model_crop_size=100"], "--model_crop_size must be a positive multiple of patch_size 16, found 100"),
        (["--batch_size=0"], "--batch_size: expected 1 or more, found 0"),
        (["--learning_rate=-1"], "--learning_rate: expected a positive number"),
        (["--steps=50"], "--warmup_steps: expected fewer than the 50 steps"),
        (["--max_short_side=-1"], "--max_short_side: expected 0 or more"),
        (["--save_minutes=-1"], "--save_minutes: expected 0 or more, found -1"),
        (["--save_every=-1"], "--save_every: expected 0 or more, found -1"),
    ],
)
def test_impossible_values_are_refused_by_flag(arguments, message):
    with pytest.raises(UserError, match=message):
        parse(*arguments)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e-320", "1e400", "1e39", "1e-39"])
@pytest.mark.parametrize("flag", ["learning_rate", "weight_decay", "clip_norm", "ema_decay", "save_minutes"])
def test_a_number_that_32_bits_do_not_hold_is_refused_by_flag(flag, number):
    with pytest.raises(UserError, match=rf"--{flag}: expected a number from 1.2e-38 to 3.4e\+38 in size, or 0, found"):
        parse(f"--{flag}={number}")


@pytest.mark.parametrize("flag", ["steps", "seed", "batch_size", "eval_every", "num_workers"])
def test_a_count_that_32_bits_do_not_hold_is_refused_by_flag(flag):
    for number in ("99999999999", "-99999999999", "4294967296", str(10**30)):
        with pytest.raises(UserError, match=f"--{flag}: expected a whole number up to 2147483647, found {number}"):
            parse(f"--{flag}={number}")


def test_no_number_is_a_traceback():
    """Of any field of a number: a configuration, or one error that names the flag."""
    kinds = {TrainConfig: "", GlintIQAConfig: "model_"}
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
    with pytest.raises(flags.Error, match=argument.split("=")[0].strip("-")):
        parse(argument)
