"""The site: ``pip install -e '.[docs]' && python -m sphinx -W docs SITE``; a warning fails it.

Notebooks are shown as they are. ``-D nb_execution_mode=force`` executes them first, as the published site does.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import from_code  # beside this file

from glintiqa_jax import __version__

project, author, release = "glintiqa_jax", "the authors of glintiqa_jax", __version__
copyright = f"2026, {author}"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["**.ipynb_checkpoints"]

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]

default_role = "code"
nitpicky = False
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_output_stderr = "remove"  # progress

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
copybutton_exclude = ".linenos, .gp, .go"


def setup(app):
    """Write the pages that are made from the code."""
    app.connect("builder-inited", lambda app: from_code.write(Path(app.srcdir) / "reference"))
