"""Show what was scored: a page with every photograph, to sort, filter and look at.

    python experiments/gallery.py rows.jsonl -o gallery

Open gallery/index.html in a browser; it needs no network.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("gallery")
