"""Train on all of one database and test on all of the others, for a matrix of both.

    python experiments/cross_dataset.py --flagfile=experiments/flags/own_data.flags --train_on=demo,csv \
      --images=DIR --scores=FILE.csv --score_range=0,100 --workdir=runs/across

Takes every flag of ``train.py``; ``--train_on`` and ``--test_on`` stand in the place of ``--dataset``. A network trains
on all images but those that validate; with ``--split_by=auto`` it trains on the training part of a split, and is also
tested on its own database. Run again it resumes.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("cross_dataset")
