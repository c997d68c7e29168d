"""Make a dataset to pretrain on: photographs, distorted as KADID-10k's, with transferred scores (SAQT).

    python experiments/build_saqt.py --sources=DIR --reference_scores=kadid10k/dmos.csv \\
      --reference_images=kadid10k/images --weights=timm --data_dir=DIR

Each photograph gives 125 images. Then train with ``--dataset=saqt --data_dir=DIR``. Without KADID-10k at hand,
``--transfer=mean`` alone takes its observers' mean scores, which are in this package. Interrupted, the same command
resumes; it makes the same images on one processor, on many, and on Beam.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("build_saqt")
