"""`glintiqa build_saqt`: `python experiments/build_saqt.py --help` says what it does and takes."""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("build_saqt")
