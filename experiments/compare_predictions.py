"""`glintiqa compare_predictions`: `python experiments/compare_predictions.py --help` says what it does and takes."""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("compare_predictions")
