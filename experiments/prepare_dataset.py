"""Prepare a downloaded database for training: check it, write its records once, and leave a card of what it holds.

    python experiments/prepare_dataset.py --dataset=koniq10k --source=/data/koniq10k --data_dir=/data/prepared
    python experiments/prepare_dataset.py --dataset=csv --images=DIR --scores=FILE.csv --score_range=0,100

``--source`` is the folder as it was downloaded and unpacked: files are found in any case and however deep they are
nested. Then train with ``--dataset=koniq10k --data_dir=/data/prepared``.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("prepare_dataset")
