"""Make a dataset to pretrain on: photographs, distorted as KADID-10k's, with transferred scores (SAQT).

    glintiqa build_saqt --sources=DIR --reference_scores=kadid10k/dmos.csv \\
      --reference_images=kadid10k/images --weights=timm --data_dir=DIR

Each photograph gives 125 images. Then train with ``--dataset=saqt --data_dir=DIR``. Without KADID-10k at hand,
``--transfer=mean`` alone takes its observers' mean scores, which are in this package. Interrupted, the same command
resumes; it makes the same images on one processor, on many, and on Beam.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from glintiqa_jax.cli.beam import define_beam, on_beam
from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.results import result
from glintiqa_jax.data.images import BAD_IMAGE_POLICIES
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import InputError

if TYPE_CHECKING:
    from glintiqa_jax.data.rated_images import Collection

_EACH = 4  # processes for each processor, at most: they compute, and do not wait


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string("sources", None, "folder of pristine photographs", required=True, flag_values=values)
    flags.DEFINE_string(
        "reference_scores",
        "",
        "a rated database's table, as KADID-10k's dmos.csv; with --transfer=mean it may be left out",
        flag_values=values,
    )
    flags.DEFINE_string("reference_images", "", "folder of that database's pristine references", flag_values=values)
    flags.DEFINE_enum(
        "transfer",
        "shrunk",
        ("top1", "topk", "mean", "shrunk", "random"),
        "whose scores an image gets: the most similar reference's (the paper's), those of --top_k similar ones, the "
        "mean over all, or that mean moved towards the similar ones; random is a bound to compare with",
        flag_values=values,
    )
    flags.DEFINE_integer("top_k", 5, "topk: references whose scores are averaged", lower_bound=1, flag_values=values)
    flags.DEFINE_enum(
        "features",
        "resnet50",
        ("resnet50", "resnet101", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "colour_texture"),
        "what similarity is measured in: a network's features, or a descriptor without weights",
        flag_values=values,
    )
    flags.DEFINE_string(
        "weights",
        "",
        "of the features' network: 'timm' (downloaded), 'package' (the extra 'pretrained') or a file",
        flag_values=values,
    )
    flags.DEFINE_string(
        "reference_features",
        "",
        "file for the references' features: read where it is there, else written",
        flag_values=values,
    )
    flags.DEFINE_string("source_features", "", "the same for the photographs'", flag_values=values)
    flags.DEFINE_string(
        "output", "", "write the images here, a folder for each photograph, and labels.csv", flag_values=values
    )
    flags.DEFINE_string(
        "data_dir", "", "write records for training here; the images are not kept then", flag_values=values
    )
    flags.DEFINE_bool(
        "on_the_fly",
        False,
        "keep only the photographs in --data_dir; training distorts them while it reads",
        flag_values=values,
    )
    flags.DEFINE_string(
        "denoiser",
        "",
        "file of a DnCNN's weights for type 15, as the database's; none: a bilateral filter, much faster",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "seed", 0, "of the random distortions", lower_bound=0, upper_bound=2**32 - 1, flag_values=values
    )
    flags.DEFINE_integer(
        "max_side",
        512,
        "shrink photographs whose longer side is longer: distortions are in pixels, KADID-10k's images 512x384; 0: no",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_enum(
        "on_bad_image",
        "fail",
        BAD_IMAGE_POLICIES,
        "a photograph that cannot be used stops the run or is left out",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "workers", 0, "processes that distort; 0: one for each processor", lower_bound=0, flag_values=values
    )
    define_beam(values)
    flags.DEFINE_bool("overwrite", False, "replace images and records that were made otherwise", flag_values=values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job."""
    _check(values)
    from glintiqa_jax.data.builder import is_prepared
    from glintiqa_jax.saqt import generation, on_the_fly
    from glintiqa_jax.saqt.distortions import MINIMUM_SIDE
    from glintiqa_jax.saqt.labelling import Labelling
    from glintiqa_jax.saqt.photographs import find_photographs

    if 0 < values.max_side < MINIMUM_SIDE:
        raise InputError(
            field="max_side",
            value=values.max_side,
            expected=f"at least {MINIMUM_SIDE}, which distortions need, or 0",
        )
    engine = on_beam("glintiqa_jax.saqt.on_beam", values.beam_options)
    labelling = Labelling(
        reference_scores=values.reference_scores,
        reference_images=values.reference_images,
        transfer=values.transfer,
        top_k=values.top_k,
        features=values.features,
        weights=values.weights,
        reference_features=values.reference_features,
        source_features=values.source_features,
    )
    reference_scores = labelling.check()
    recipe = generation.Recipe(seed=values.seed, max_side=values.max_side, denoiser=_denoiser(values.denoiser))
    photographs, left_out = find_photographs(values.sources, recipe, on_bad_image=values.on_bad_image)
    for line in left_out:
        values.log.warn(line)
    if values.output:
        _check_not_made_here(values.output, [photograph.path for photograph in photographs])
    sources = labelling.sources(photographs, reference_scores, recipe)
    notes = [labelling.describe(), recipe.describe()]
    if values.on_the_fly:
        _prepare(values, on_the_fly.pristine_collection(sources, recipe, notes=notes))
        return
    if values.output:
        images, field = local_path("output", values.output), "output"
    else:
        # temporary, but under a name that the same command finds again after an interruption
        identity = generation.collection(sources, Path(), recipe).identity
        images, field = local_path("data_dir", values.data_dir) / f".saqt-{identity[:12]}", "data_dir"
    collection = generation.collection(sources, images, recipe, notes=notes)
    prepared = bool(values.data_dir) and is_prepared(collection, values.data_dir, overwrite=values.overwrite)
    with contextlib.ExitStack() as stack:
        if values.output or not prepared:
            stack.enter_context(generation.claimed(images, field, recipe, overwrite=values.overwrite))
            if engine:
                engine.write_all(sources, images, recipe, values.beam_options)
            else:
                generation.write_all(sources, images, recipe, workers=values.workers)
        if values.output:
            generation.write_labels(images / generation.LABELS, sources)
            count = generation.VERSIONS * len(sources)
            result(f"{count:,} images of {len(sources):,} photographs: {images / generation.LABELS}")
        if values.data_dir:
            _prepare(values, collection, engine.records(sources, images, values.beam_options) if engine else None)
    if not values.output:
        shutil.rmtree(images, ignore_errors=True)


def _check(values: Flags) -> None:
    """Refuse flags that do not go together."""
    if not values.sources:
        raise InputError(field="sources", expected="a folder of photographs", found="nothing")
    if not (values.output or values.data_dir):
        raise InputError("`output`, `data_dir`: expected a folder for images or for records, found neither")
    if values.on_the_fly and (values.output or values.beam_options or values.denoiser or not values.data_dir):
        raise InputError(
            "makes no images now: it takes `data_dir`, and no `output`, `beam_options` or `denoiser`",
            field="on_the_fly",
        )
    if values.workers and (values.on_the_fly or values.beam_options):
        raise InputError("takes neither `on_the_fly` nor `beam_options`", field="workers", value=values.workers)
    most = _EACH * (os.cpu_count() or 1)
    if values.workers > most:
        raise InputError(field="workers", value=values.workers, expected=f"at most {most}, {_EACH} for each processor")
    sources = Path(os.path.realpath(local_path("sources", values.sources)))
    for field in ("output", "data_dir"):
        if value := values[field].value:
            _check_folder(field, value, sources)


def _check_folder(field: str, value: str, sources: Path) -> None:
    """Refuse a folder that cannot be written, and one inside the photographs' folder, which it would join."""
    path = Path(os.path.realpath(local_path(field, value)))
    if path.is_relative_to(sources):
        raise InputError(field=field, value=value, expected=f"a folder outside of `sources={sources}`")
    if field == "output" and sources.is_relative_to(path):
        raise InputError(field=field, value=value, expected=f"a folder that does not hold `sources={sources}`")
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir():
        raise InputError(field=field, value=value, expected="a folder", found=f"a file, {there}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{there} cannot be written", field=field, value=value)


def _check_not_made_here(output: str, paths: list[Path]) -> None:
    """Refuse photographs that are reached by a link, and lie where images are to be written."""
    folder = os.path.realpath(local_path("output", output))
    for path in paths:
        if Path(os.path.realpath(path)).is_relative_to(folder):
            raise InputError(
                field="output", value=output, expected="a folder without photographs to distort", found=path
            )


def _prepare(values: Flags, collection: Collection, records: Any = None) -> None:
    """Write the records and their card."""
    from glintiqa_jax.data.builder import prepare
    from glintiqa_jax.data.records import RecordSource
    from glintiqa_jax.evaluation.card import describe, write_card

    source = RecordSource(prepare(collection, values.data_dir, overwrite=values.overwrite, on_beam=records))
    path = write_card(source)
    for line in (*describe(source), "", f"card:   {path}"):
        result(line)
    data_dir = shlex.quote(values.data_dir)
    result(f"train:  glintiqa train --dataset=saqt --data_dir={data_dir} --workdir=...")


def _denoiser(file: str) -> Any:
    """What removes the noise in type 15."""
    from glintiqa_jax.saqt.distortions import DEFAULT_DENOISER

    if not file:
        return DEFAULT_DENOISER
    from glintiqa_jax.saqt.dncnn import load_dncnn

    return load_dncnn(file)
