"""Bring weights in and out: official checkpoints to ours, ours to PyTorch's layout.

    glintiqa convert_weights --input=official.pth --score_range=0,100 --output=runs/official
    glintiqa convert_weights --input=runs/quickstart --output=quickstart.safetensors

The first makes a checkpoint that ``score`` and ``evaluate`` take; an official file does not say what its scores mean,
so the flags do. The second writes a checkpoint's network in the official layout, as .safetensors or .npz.
"""

from absl import flags

from glintiqa_jax.cli.flags import Flags, define_experiment, train_config
from glintiqa_jax.cli.results import result
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import InputError


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string("input", None, "a file of official weights, or a checkpoint of ours", values, required=True)
    flags.DEFINE_string("output", None, "a new folder, or a .safetensors or .npz file", values, required=True)
    define_experiment(values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job."""
    config = train_config(values)
    from glintiqa_jax.scoring.convert import export_checkpoint, import_official

    for field in ("input", "output"):
        if not values[field].value:
            raise InputError(field=field, expected="a path", found="nothing")
    source = local_path("input", values.input)
    if not source.exists():
        raise InputError(
            field="input", value=source, expected="a file of weights or a checkpoint's folder", found="nothing there"
        )
    if source.is_dir():
        export_checkpoint(source, values.output)
    else:
        import_official(source, values.output, config)
        result(f"score an image:  glintiqa score --checkpoint={values.output} PATH")
    result(f"wrote {values.output}")
