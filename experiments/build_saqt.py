"""Make a dataset to pretrain on: photographs, distorted as KADID-10k's, with transferred scores (SAQT).

    python experiments/build_saqt.py --sources=DIR --reference_scores=kadid10k/dmos.csv \\
      --reference_images=kadid10k/images --weights=timm --data_dir=DIR

Each photograph gives 125 images. Then train with ``--dataset=saqt --data_dir=DIR``. Without KADID-10k at hand,
``--transfer=mean`` alone takes its observers' mean scores, which are in this package. Interrupted, the same command
goes on; what it makes is the same on one processor, on many, and on Beam.
"""

import contextlib
import logging as standard_logging
import os
import shlex
import shutil
from pathlib import Path

from absl import flags, logging

from glintiqa_jax import command_line
from glintiqa_jax.data.images import BAD_IMAGE_POLICIES
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import UserError
from glintiqa_jax.progress import result, warn

_SOURCES = flags.DEFINE_string("sources", None, "folder of pristine photographs", required=True)
_REFERENCE_SCORES = flags.DEFINE_string(
    "reference_scores", "", "a rated database's table, as KADID-10k's dmos.csv; with --transfer=mean it may be left out"
)
_REFERENCE_IMAGES = flags.DEFINE_string("reference_images", "", "folder of that database's pristine references")
_TRANSFER = flags.DEFINE_enum(
    "transfer",
    "shrunk",
    ("top1", "topk", "mean", "shrunk", "random"),
    "whose scores an image gets: the most similar reference's (the paper's), those of --top_k similar ones, the mean "
    "over all, or that mean moved towards the similar ones; random is a bound to compare with",
)
_TOP_K = flags.DEFINE_integer("top_k", 5, "topk: references whose scores are averaged", lower_bound=1)
_FEATURES = flags.DEFINE_enum(
    "features",
    "resnet50",
    ("resnet50", "resnet101", "efficientnet_lite0", "colour_texture"),
    "what similarity is measured in: a network's features, or a descriptor without weights",
)
_WEIGHTS = flags.DEFINE_string(
    "weights", "", "of the features' network: 'timm' (downloaded), 'package' (the extra 'pretrained') or a file"
)
_REFERENCE_FEATURES = flags.DEFINE_string(
    "reference_features", "", "file for the references' features: read where it is there, else written"
)
_SOURCE_FEATURES = flags.DEFINE_string("source_features", "", "the same for the photographs'")
_OUTPUT = flags.DEFINE_string("output", "", "write the images here, a folder for each photograph, and labels.csv")
_DATA_DIR = flags.DEFINE_string("data_dir", "", "write records for training here; the images are not kept then")
_ON_THE_FLY = flags.DEFINE_bool(
    "on_the_fly", False, "keep only the photographs in --data_dir; training distorts them while it reads"
)
_DENOISER = flags.DEFINE_string(
    "denoiser", "", "file of a DnCNN's weights for type 15, as the database's; none: a bilateral filter, much faster"
)
_SEED = flags.DEFINE_integer("seed", 0, "of the random distortions", lower_bound=0, upper_bound=2**32 - 1)
_MAX_SIDE = flags.DEFINE_integer(
    "max_side",
    512,
    "shrink photographs whose longer side is longer: distortions are in pixels, KADID-10k's images are 512x384; 0: no",
    lower_bound=0,
)
_ON_BAD_IMAGE = flags.DEFINE_enum(
    "on_bad_image", "fail", BAD_IMAGE_POLICIES, "a photograph that cannot be used stops the run or is left out"
)
_WORKERS = flags.DEFINE_integer("workers", 0, "processes that distort; 0: one for each processor", lower_bound=0)
_BEAM_OPTIONS = flags.DEFINE_multi_string(
    "beam_options", [], "a flag for Apache Beam, --runner=DirectRunner for one; may be repeated. Makes Beam do the work"
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "replace images and records that were made otherwise")

_EACH = 4  # processes for each processor, at most: they compute, and do not wait


def main() -> None:
    """The command."""
    if not _SOURCES.value:
        raise UserError("--sources: expected a folder of photographs, found nothing")
    if not (_OUTPUT.value or _DATA_DIR.value):
        raise UserError("--output, --data_dir: expected a folder for images or for records, found neither")
    if _ON_THE_FLY.value and (_OUTPUT.value or _BEAM_OPTIONS.value or _DENOISER.value or not _DATA_DIR.value):
        raise UserError(
            "--on_the_fly: makes no images now: it takes --data_dir, and no --output, --beam_options or --denoiser"
        )
    if _WORKERS.value and (_ON_THE_FLY.value or _BEAM_OPTIONS.value):
        raise UserError(f"--workers={_WORKERS.value}: takes neither --on_the_fly nor --beam_options")
    most = _EACH * (os.cpu_count() or 1)
    if _WORKERS.value > most:
        raise UserError(f"--workers={_WORKERS.value}: expected at most {most}, {_EACH} for each processor")
    _check_folders()
    from glintiqa_jax.data.builder import is_prepared
    from glintiqa_jax.saqt import generation, on_the_fly
    from glintiqa_jax.saqt.distortions import MINIMUM_SIDE
    from glintiqa_jax.saqt.labelling import Labelling
    from glintiqa_jax.saqt.photographs import find_photographs

    if 0 < _MAX_SIDE.value < MINIMUM_SIDE:
        raise UserError(f"--max_side={_MAX_SIDE.value}: expected at least {MINIMUM_SIDE}, which distortions need, or 0")
    on_beam = _beam()
    labelling = Labelling(
        reference_scores=_REFERENCE_SCORES.value,
        reference_images=_REFERENCE_IMAGES.value,
        transfer=_TRANSFER.value,
        top_k=_TOP_K.value,
        features=_FEATURES.value,
        weights=_WEIGHTS.value,
        reference_features=_REFERENCE_FEATURES.value,
        source_features=_SOURCE_FEATURES.value,
    )
    reference_scores = labelling.check()
    recipe = generation.Recipe(seed=_SEED.value, max_side=_MAX_SIDE.value, denoiser=_denoiser())
    photographs, left_out = find_photographs(_SOURCES.value, recipe, on_bad_image=_ON_BAD_IMAGE.value)
    for line in left_out:
        warn(line)
    if _OUTPUT.value:
        _check_not_made_here([photograph.path for photograph in photographs])
    sources = labelling.sources(photographs, reference_scores, recipe)
    notes = [labelling.describe(), recipe.describe()]
    if _ON_THE_FLY.value:
        _prepare(on_the_fly.pristine_collection(sources, recipe, notes=notes))
        return
    if _OUTPUT.value:
        images, flag = local_path("output", _OUTPUT.value), f"--output={_OUTPUT.value}"
    else:
        # only for the time being, but under a name that the same command finds again when it was interrupted
        identity = generation.collection(sources, Path(), recipe).fingerprint
        images, flag = (
            local_path("data_dir", _DATA_DIR.value) / f".saqt-{identity[:12]}",
            f"--data_dir={_DATA_DIR.value}",
        )
    collection = generation.collection(sources, images, recipe, notes=notes)
    prepared = bool(_DATA_DIR.value) and is_prepared(collection, _DATA_DIR.value, overwrite=_OVERWRITE.value)
    with contextlib.ExitStack() as stack:
        if _OUTPUT.value or not prepared:
            stack.enter_context(generation.claimed(images, flag, recipe, overwrite=_OVERWRITE.value))
            if on_beam:
                on_beam.write_all(sources, images, recipe, _BEAM_OPTIONS.value)
            else:
                generation.write_all(sources, images, recipe, workers=_WORKERS.value)
        if _OUTPUT.value:
            generation.write_labels(images / generation.LABELS, sources)
            count = generation.VERSIONS * len(sources)
            result(f"{count:,} images of {len(sources):,} photographs: {images / generation.LABELS}")
        if _DATA_DIR.value:
            _prepare(collection, on_beam.records(sources, images, _BEAM_OPTIONS.value) if on_beam else None)
    if not _OUTPUT.value:
        shutil.rmtree(images, ignore_errors=True)


def _check_folders() -> None:
    """Refuse folders that cannot be written, and such among the photographs: what is made would be taken for more."""
    sources = Path(os.path.realpath(local_path("sources", _SOURCES.value)))
    for name, value in (("output", _OUTPUT.value), ("data_dir", _DATA_DIR.value)):
        if not value:
            continue
        path = Path(os.path.realpath(local_path(name, value)))
        if path.is_relative_to(sources):
            raise UserError(f"--{name}={value}: expected a folder outside of --sources={_SOURCES.value}")
        if name == "output" and sources.is_relative_to(path):
            raise UserError(f"--{name}={value}: expected a folder that does not hold --sources={_SOURCES.value}")
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        if not there.is_dir():
            raise UserError(f"--{name}={value}: expected a folder, found a file, {there}")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UserError(f"--{name}={value}: {there} cannot be written")


def _check_not_made_here(paths: list[Path]) -> None:
    """Refuse photographs that are reached by a link, and lie where images are to be written."""
    output = os.path.realpath(local_path("output", _OUTPUT.value))
    for path in paths:
        if Path(os.path.realpath(path)).is_relative_to(output):
            raise UserError(f"--output={_OUTPUT.value}: expected a folder without photographs to distort, found {path}")


def _prepare(collection, on_beam=None) -> None:
    from glintiqa_jax.data.builder import prepare
    from glintiqa_jax.data.source import RatedSource
    from glintiqa_jax.evaluation.card import describe, write_card

    source = RatedSource(prepare(collection, _DATA_DIR.value, overwrite=_OVERWRITE.value, on_beam=on_beam))
    path = write_card(source)
    for line in (*describe(source), "", f"card:   {path}"):
        result(line)
    data_dir = shlex.quote(_DATA_DIR.value)
    result(f"train:  python experiments/train.py --dataset=saqt --data_dir={data_dir} --workdir=...")


def _denoiser():
    """What removes the noise in type 15."""
    from glintiqa_jax.saqt.distortions import DEFAULT_DENOISER

    if not _DENOISER.value:
        return DEFAULT_DENOISER
    from glintiqa_jax.saqt.dncnn import load_dncnn

    return load_dncnn(_DENOISER.value)


def _beam():
    """The module that works on Beam, where that is asked for."""
    if not _BEAM_OPTIONS.value:
        return None
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # Beam warns of what it could do with Google's cloud if more were installed
    try:
        from glintiqa_jax.saqt import on_beam
    except ModuleNotFoundError as error:
        raise UserError(f"--beam_options: needs Apache Beam: pip install 'glintiqa-jax[beam]' ({error})") from error
    finally:
        logging.set_verbosity(verbosity)
    on_beam.check_options(_BEAM_OPTIONS.value)
    standard_logging.getLogger("apache_beam").setLevel(standard_logging.CRITICAL)  # it logs what it raises as well
    return on_beam


if __name__ == "__main__":
    command_line.run(main, advice="the same command goes on where it stopped")
