"""`glintiqa show_distortions`: `python experiments/show_distortions.py --help` says what it does and takes."""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("show_distortions")
