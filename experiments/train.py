"""Train and evaluate GlintIQA.

    python experiments/train.py --flagfile=experiments/flags/scratch.flags

Every field of the configuration is a flag (``--help`` lists them); files in ``experiments/flags`` hold whole
experiments. Run again with the same flags, it resumes.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("train")
