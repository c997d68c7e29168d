"""`glintiqa prepare_dataset`: `python experiments/prepare_dataset.py --help` says what it does and takes."""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("prepare_dataset")
