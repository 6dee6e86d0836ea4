"""How Sphinx builds the site; ``scripts/docs.py`` calls it, offline, on a copy that holds the generated pages too."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "Assay"
version = release = version_of("assay-portfolio")
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
root_doc = "index"

myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
autodoc_typehints = "none"  # numpydoc says the types in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False
# Docstrings name inner functions, which are of interest to who reads the source; the site has the public ones.
nitpick_ignore_regex = [(r"py:.*", r"assay\..*"), (r"py:class", r".*")]

html_theme = "pydata_sphinx_theme"
html_title = "Assay"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "navbar_end": ["theme-switcher"],
    "footer_start": [],
    "footer_end": ["sphinx-version"],
    "secondary_sidebar_items": ["page-toc"],
}
