"""How Sphinx makes the site. Nothing here needs the network; `make_site.py` says where pages come from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import automodels

project = "automodels"
author = "The automodels authors"
project_copyright = "the automodels authors, Apache-2.0"
version = release = automodels.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "type_names"]
nitpicky = True
default_role = "code"  # docstrings are written with one backtick, as in Markdown

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 72
add_module_names = False
toc_object_entries = False  # every page would carry a list of all methods in its navigation

html_theme = "furo"
html_title = "automodels"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
