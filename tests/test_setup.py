"""The lowest versions that CI tests are those that ``setup.cfg`` allows."""

import configparser
import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


def requirements() -> list[Requirement]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    lines = "\n".join([setup["options"]["install_requires"], *(extras[name] for name in ("pretrained", "test"))])
    found = [Requirement(line) for line in lines.splitlines() if line.strip() and not line.strip().startswith("#")]
    return [one for one in found if one.name != "glintiqa-jax"]


def test_the_lowest_versions_are_those_of_setup_cfg():
    lines = (ROOT / ".ci" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    lowest = {one.name.replace("_", "-"): next(iter(one.specifier)).version for one in map(Requirement, lines[1:])}
    for one in requirements():
        name = re.sub(r"[._]+", "-", one.name.lower())
        bounds = [bound.version for bound in one.specifier if bound.operator == ">="]
        if bounds:  # a bound may leave out trailing zeros or a build number
            assert lowest[name].startswith(bounds[0]) or Version(lowest[name]) == Version(bounds[0]), name
        assert one.specifier.contains(lowest[name]), name
