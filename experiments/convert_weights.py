"""`glintiqa convert_weights`: `python experiments/convert_weights.py --help` says what it does and takes."""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("convert_weights")
