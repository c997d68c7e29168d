"""The definitions of the compression distortions."""

import PIL.Image
import pytest
from pictures import ASTRONAUT, LEVELS

from glintiqa_jax.saqt.distortions import distort


def test_jpeg2000_keeps_to_its_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    real = PIL.Image.Image.save

    def measured(self, file, **options):  # type: ignore[no-untyped-def]
        real(self, file, **options)
        files.append(file.getvalue())

    monkeypatch.setattr(PIL.Image.Image, "save", measured)
    for level, ratio in zip(LEVELS, (16, 32, 45, 120, 400), strict=True):
        distort(ASTRONAUT, "jpeg2000", level)
        file = files.pop()
        assert file[4:8] == b"jP  "
        assert len(file) == pytest.approx(ASTRONAUT.nbytes / ratio, rel=0.1, abs=100)
        # ISO/IEC 15444-1, table A.20: 0 in the last byte of the coding style is the irreversible 9-7 wavelet.
        assert file[file.index(b"\xff\x52") + 13] == 0
