"""Train and test GlintIQA with its parts left out or changed, on the same splits: the paper's tables of ablations.

    python experiments/ablations.py --flagfile=experiments/flags/scratch.flags --tables=branches --rounds=0 \
      --workdir=runs/ablations

Takes the flags of ``train.py`` for the experiment that is taken apart. Run again it resumes; with more tables or rounds
it adds them.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("ablations")
