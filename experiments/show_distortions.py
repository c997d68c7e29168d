"""Show KADID-10k's 25 distortions at their five levels on a photograph.

    python experiments/show_distortions.py photo.jpg -o gallery.png

Writes one labelled picture of some 1,200 x 4,500 pixels: a row for each distortion, a tile for each level.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("show_distortions")
