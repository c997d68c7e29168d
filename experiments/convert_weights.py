"""Bring weights in and out: official checkpoints to ours, ours to PyTorch's layout.

    python experiments/convert_weights.py --input=official.pth --score_range=0,100 --output=runs/official
    python experiments/convert_weights.py --input=runs/scratch --output=scratch.safetensors

The first makes a checkpoint that score.py and evaluate.py take; an official file does not say what its scores mean, so
the flags do. The second writes a checkpoint's network in the official layout, as .safetensors or .npz.
"""

from glintiqa_jax.cli.main import script

if __name__ == "__main__":
    script("convert_weights")
