"""The report says what was measured, for people."""

import numpy as np
import pytest
from PIL import Image

from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.readers.own import read_csv
from glintiqa_jax.data.source import RatedSource
from glintiqa_jax.evaluation.prediction import Predictions
from glintiqa_jax.evaluation.report import write_report


@pytest.mark.parametrize("undefined", [False, True])
def test_a_report_has_its_table_and_plots(rated_folder, tmp_path, undefined):
    source = RatedSource(prepare(read_csv(*rated_folder(9), score_range=(0, 100)), tmp_path / "data"))
    positions = np.arange(9)
    target = source.index.raw_scores
    predictions = Predictions(positions, source.index.names, target[::-1] / 2, np.zeros(9), target, ["csv"] * 9)
    part = {"srocc": None if undefined else -1.0, "plcc": -1.0, "krocc": -1.0, "rmse": 12.345678, "images": 9}
    write_report(
        tmp_path,
        source=source,
        predictions=predictions,
        history=[{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}, {"step": 2, "validation": part}],
        results={"step": 2, "best_step": 2, "validation": part, "test": part},
        config={"variant": "glintiqa_tiny", "loss": "l1"},
    )
    text = (tmp_path / "report.md").read_text()
    assert "| test | 9 | " + ("undefined" if undefined else "-1.0000") + " | -1.0000 | -1.0000 | 12.3457 |" in text
    assert "MOS 0 to 100, higher is better" in text
    for name in ("learning_curve", "predicted_against_true", "best_and_worst"):
        assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 5
