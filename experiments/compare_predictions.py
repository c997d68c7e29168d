"""Compare files of predictions, of whatever models, with people's scores: intervals, paired differences, one page.

    python experiments/compare_predictions.py --scores=FILE.csv --workdir=runs/comparison \
      --predictions=full=runs/full/predictions_test.csv,cnn=runs/cnn/predictions_test.csv

Higher predictions mean higher scores, in any unit. All models predict the same images; the scores may have more.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("compare_predictions")
