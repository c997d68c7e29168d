"""Train and test GlintIQA with its parts left out or changed, on the same splits: the paper's tables of ablations.

    python experiments/ablations.py --flagfile=experiments/flags/quickstart.flags --tables=branches --rounds=0 \
      --workdir=runs/ablations

Takes every flag of ``train.py``; they say the experiment whose parts are looked at. Run again it goes on where it
stopped, with more tables or rounds it adds them.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("ablations")
