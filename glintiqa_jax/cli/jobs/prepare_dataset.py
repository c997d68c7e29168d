"""Prepare a downloaded database for training: check it, write its records once, and leave a card of what it holds.

    glintiqa prepare_dataset --dataset=koniq10k --source=/data/koniq10k --data_dir=/data/prepared
    glintiqa prepare_dataset --dataset=csv --images=DIR --scores=FILE.csv --score_range=0,100

``--source`` is the folder as it was downloaded and unpacked: files are found in any case and at any depth. Then train
with ``--dataset=koniq10k --data_dir=/data/prepared``.
"""

import shlex

from absl import flags

from glintiqa_jax.cli.flags import Flags, data_config, define_data, loading
from glintiqa_jax.cli.results import result
from glintiqa_jax.data.images import MAX_PIXELS
from glintiqa_jax.errors import InputError


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string("source", "", "folder of the downloaded database (not for csv)", values)
    flags.DEFINE_bool("overwrite", False, "replace what was prepared from other files or with other options", values)
    flags.DEFINE_integer(
        "max_pixels", MAX_PIXELS, "larger images are bad ones; 0: no limit", lower_bound=0, flag_values=values
    )
    define_data(values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job."""
    config, policy = data_config(values), loading(values).on_bad_image
    if len(config.datasets) > 1:
        raise InputError(field="dataset", expected="one database to prepare", found=config.dataset)
    (name, _), *_ = config.datasets
    from glintiqa_jax.data.databases import DATABASES, read_database
    from glintiqa_jax.data.records import RecordSource
    from glintiqa_jax.datasets.config import DEMOS
    from glintiqa_jax.datasets.opening import prepare_as_configured, read_own
    from glintiqa_jax.evaluation.card import describe, write_card
    from glintiqa_jax.saqt.demo import read_demo

    if name in DATABASES:
        if not values.source:
            raise InputError(f"needed with `dataset={name}`, found nothing", field="source")
        collection = read_database(name, values.source, on_bad_image=policy)
    else:
        if values.source:
            raise InputError(f"needs a database's name, found `dataset={name}`", field="source")
        collection = read_demo(name) if name in DEMOS else read_own(config.own, on_bad_image=policy)
    for note in collection.notes:
        values.log.tell(note)
    folder = prepare_as_configured(
        config, collection, on_bad_image=policy, overwrite=values.overwrite, max_pixels=values.max_pixels
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
        result(f"train:  glintiqa train --dataset={name} --data_dir={data_dir} --workdir=...")
    else:
        result("train:  glintiqa train with the same flags and --workdir=...")
