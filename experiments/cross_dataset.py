"""`glintiqa cross_dataset`: `python experiments/cross_dataset.py --help` says what it does and takes."""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("cross_dataset")
