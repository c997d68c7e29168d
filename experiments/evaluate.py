"""Evaluate a trained checkpoint.

    python experiments/evaluate.py --model=runs/scratch
    python experiments/evaluate.py --model=runs/scratch --dataset=csv --images=DIR --scores=FILE.csv

Without data flags, on the test split the checkpoint was not trained on. With them, on all images of other data, or on
the split that ``--split`` names. Scores are compared in each database's own unit: SROCC and KROCC do not mind, PLCC and
RMSE assume that both ranges mean the same. Contents that the checkpoint was trained on are left out, and said.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("evaluate")
