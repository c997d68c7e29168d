"""`glintiqa run_rounds`: `python experiments/run_rounds.py --help` says what it does and takes."""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("run_rounds")
