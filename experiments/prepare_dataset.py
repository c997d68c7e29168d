"""Prepare a downloaded database for training: check it, write its records once, and leave a card of what it holds.

    python experiments/prepare_dataset.py --dataset=koniq10k --source=/data/koniq10k --data_dir=/data/prepared
    python experiments/prepare_dataset.py --dataset=csv --images=DIR --scores=FILE.csv --score_range=0,100

``--source`` is the folder as it was downloaded and unpacked: files are found in any case and however deep they are
nested. Then train with ``--dataset=koniq10k --data_dir=/data/prepared``.
"""

import shlex

from absl import flags

from glintiqa_jax import command_line
from glintiqa_jax.data.images import MAX_PIXELS
from glintiqa_jax.errors import UserError
from glintiqa_jax.progress import result, say, warn

with command_line.loading():
    from glintiqa_jax.training import flags as config_flags

_SOURCE = flags.DEFINE_string("source", "", "folder of the downloaded database (not for csv)")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "replace what was prepared from other files or with other options")
_MAX_PIXELS = flags.DEFINE_integer("max_pixels", MAX_PIXELS, "larger images are bad ones; 0: no limit", lower_bound=0)
config_flags.define_data_flags()
flags.adopt_module_key_flags(config_flags)  # so that --help lists them


def main() -> None:
    """The command."""
    config, bad = config_flags.data_config(), flags.FLAGS.on_bad_image
    if len(config.datasets) > 1:
        raise UserError(f"--dataset: expected one database to prepare, found {config.dataset}")
    (name, _), *_ = config.datasets
    from glintiqa_jax.data.databases import DATABASES, read_database
    from glintiqa_jax.data.records import RecordSource
    from glintiqa_jax.datasets.opening import prepare_as_configured, read_own
    from glintiqa_jax.evaluation.card import describe, write_card
    from glintiqa_jax.saqt.demo import read_demo

    if name in DATABASES:
        if not _SOURCE.value:
            raise UserError(f"--source: needed with --dataset={name}, found nothing")
        collection = read_database(name, _SOURCE.value, on_bad_image=bad)
    else:
        if _SOURCE.value:
            raise UserError(f"--source: needs a database's name, found --dataset={name}")
        collection = read_demo() if name == "demo" else read_own(config.own, on_bad_image=bad)
    for note in collection.notes:
        (warn if note.startswith("warning:") else say)(note)
    folder = prepare_as_configured(
        config, collection, on_bad_image=bad, overwrite=_OVERWRITE.value, max_pixels=_MAX_PIXELS.value
    )
    source = RecordSource(folder)
    path = write_card(source)
    for line in describe(source):
        result(line)
    result("")
    result(f"card:   {path}")
    result(f"open:   glintiqa_jax.open_dataset({folder.parent.name!r}, data_dir={config.data_dir!r})")
    if name in DATABASES:
        data_dir = shlex.quote(config.data_dir)
        result(f"train:  python experiments/train.py --dataset={name} --data_dir={data_dir} --workdir=...")
    else:
        result("train:  python experiments/train.py with the same flags and --workdir=...")


if __name__ == "__main__":
    command_line.run(main)
