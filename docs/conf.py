"""The documentation: python -m sphinx -W --keep-going docs docs/_build.

Links from a page to a file outside of this folder lead to $INSITU_SOURCES, the address of the sources, without it to this
checkout.
"""

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

SOURCES = os.environ.get("INSITU_SOURCES") or (Path(__file__).parent.parent).as_uri()
OUTSIDE = re.compile(r"\]\((?:\.\./)+(?=[\w.]+)")

project = "insitu"
author = "the insitu authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "insitu"
default_role = "py:obj"
suppress_warnings = ["ref.python"]  # a name in a docstring that two modules have

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False

myst_heading_anchors = 4
myst_url_schemes = ["http", "https", "file"]


def lead_outside(app: Sphinx, page: str, source: list[str]) -> None:
    """Let links to files that are no pages lead to the sources."""
    if "/" not in page:
        source[0] = OUTSIDE.sub(f"]({SOURCES}/", source[0])


def as_plain_text(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Escape what is no markup in docstrings: |u|, the star of *points, and in sentences the end of ``modes_``."""
    for n, line in enumerate(lines):
        is_sentence = " " in line.strip() and " : " not in line
        special = r"([*|]|(?<=\w)_(?!\w))" if is_sentence else r"([*|])"
        pieces = line.split("`")
        pieces[::2] = [re.sub(special, r"\\\1", piece) for piece in pieces[::2]]
        lines[n] = "`".join(pieces)


def is_left_out(
    app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out what scikit-learn adds to its transformers."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app: Sphinx) -> None:
    """Connect the above; docstrings are escaped before napoleon reads their sections."""
    app.connect("source-read", lead_outside)
    app.connect("autodoc-process-docstring", as_plain_text, priority=400)
    app.connect("autodoc-skip-member", is_left_out)
