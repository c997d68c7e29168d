"""Bring weights in and out: official checkpoints to ours, ours to PyTorch's layout.

    python experiments/convert_weights.py --input=official.pth --score_range=0,100 --output=runs/official
    python experiments/convert_weights.py --input=runs/quickstart --output=quickstart.safetensors

The first makes a checkpoint that score.py and evaluate.py take; an official file does not say what its scores mean, so
the flags do. The second writes a checkpoint's network in the official layout, as .safetensors or .npz.
"""

from absl import flags

from glintiqa_jax import command_line
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import UserError
from glintiqa_jax.progress import result

with command_line.loading():
    from glintiqa_jax.training import flags as config_flags

_INPUT = flags.DEFINE_string("input", None, "a file of official weights, or a checkpoint of ours", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "a new folder, or a .safetensors or .npz file", required=True)
config_flags.define_train_flags()
flags.adopt_module_key_flags(config_flags)  # so that --help lists them


def main() -> None:
    """The command."""
    config = config_flags.train_config()
    from glintiqa_jax.scoring.convert import export_checkpoint, import_official

    for flag, value in (("input", _INPUT.value), ("output", _OUTPUT.value)):
        if not value:
            raise UserError(f"--{flag}: expected a path, found nothing")
    source = local_path("input", _INPUT.value)
    if not source.exists():
        raise UserError(f"--input={source}: expected a file of weights or a checkpoint's folder, found nothing there")
    if source.is_dir():
        export_checkpoint(source, _OUTPUT.value)
    else:
        import_official(source, _OUTPUT.value, config)
        result(f"score an image:  python experiments/score.py --checkpoint={_OUTPUT.value} PATH")
    result(f"wrote {_OUTPUT.value}")


if __name__ == "__main__":
    command_line.run(main)
