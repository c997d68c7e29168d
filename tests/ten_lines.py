"""The ten lines that work in a notebook, run as a script: no flag, file or folder of one's own making.

CI runs this with the wheel installed in an empty environment, outside of the checkout.
"""

import numpy as np

import glintiqa_jax as giq

rng = np.random.default_rng(0)
mos = np.linspace(0, 100, 24)
images = [np.clip(128 + rng.normal(0, 1 + score, (64, 72, 3)), 0, 255).astype(np.uint8) for score in mos]

heat = giq.load_model().map(images[0])
assert heat.values.shape == images[0].shape[:2]
source = giq.from_arrays(images, mos, score_range=(0, 100))
run = giq.train(source, giq.recipes.own_data_scratch(steps=2, model=giq.VARIANTS["glintiqa_tiny"]))
score = run.model.score(images[0])
assert 0 <= score.percent <= 100
assert run.model.map(images[0]).values.shape == images[0].shape[:2]
assert "SROCC" in str(run.report)
