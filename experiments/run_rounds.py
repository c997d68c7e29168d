"""Train and test GlintIQA on rounds of random splits, and report the median over them, as the field's tables do.

    python experiments/run_rounds.py --flagfile=experiments/flags/scratch.flags --workdir=runs/rounds

Takes the flags of ``train.py``, except those that choose the split. Run again it resumes; with a higher ``--rounds`` it
adds rounds.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("run_rounds")
