"""Export a model for programs without this package: ONNX, StableHLO, or weights in the official layout.

    glintiqa export runs/scratch -o scratch.onnx

Without a model, the one that ships. The file says what crops it takes, what its scores mean and how an image is
prepared: docs/howto/export.md.
"""

from __future__ import annotations

from absl import flags

from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.results import result
from glintiqa_jax.errors import InputError

ARGUMENTS = "[MODEL]"


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string("output", None, "the file to write", values, required=True, short_name="o")
    flags.DEFINE_string(
        "format", None, "onnx, stablehlo or safetensors (default: by the file's ending)", flag_values=values
    )


def run(values: Flags, arguments: list[str]) -> None:
    """The job; ``arguments`` is a model's, a run's or a checkpoint's folder, or nothing."""
    if len(arguments) > 1:
        raise InputError(expected="one model", found=len(arguments), hint="glintiqa export MODEL -o FILE")
    from glintiqa_jax.scoring.export import export_model, format_of
    from glintiqa_jax.scoring.files import load_model

    kind = format_of(values.output, values.format)  # before the model is loaded
    model = load_model(*arguments)
    export_model(model, values.output, kind)
    result(f"{kind} of {model!r}: {values.output}")
