"""Score images with a trained checkpoint.

    python experiments/score.py --model=runs/scratch photo.jpg folder/ --output=scores.csv

Prints one line per image: its score, in the unit and direction the first line names, and its path. Ended by a signal,
it leaves what it has scored in ``--output``.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("score")
