"""What ``setup.cfg`` cannot say: the README without what only a checkout has."""

import re
from pathlib import Path

from setuptools import setup

text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
text = re.sub(r"!\[[^]]*\]\((?!http)[^)]*\)\n*", "", text)  # pictures
text = re.sub(r"\[([^]]*)\]\((?!http)[^)]*\)", r"\1", text)  # links

setup(long_description=text, long_description_content_type="text/markdown")
