"""What the theme cannot be told: run pages are in the book's order and its search, but not in the sidebar."""

from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_RUNS = "runs/"  # pages of runs are below it


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx, which finds this module in ``_config.yml``."""
    app.connect("env-updated", leave_out_of_sidebar)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def leave_out_of_sidebar(app: Sphinx, environment: BuildEnvironment) -> None:
    """Take run pages out of the tree that the sidebar draws: there are too many, and the grid leads to them.

    Previous and next, and whether a page is listed at all, Sphinx reads elsewhere
    (``environment.toctree_includes``).
    """
    for tree in environment.tocs.values():
        for toctree in list(tree.findall(addnodes.toctree)):
            listed = toctree["includefiles"]
            if listed and all(name.startswith(_RUNS) for name in listed):
                _remove(toctree)


def _remove(node: nodes.Element) -> None:
    """Remove a node, and lists that become empty with it."""
    parent = node.parent
    parent.remove(node)
    if isinstance(parent, nodes.bullet_list) and not parent.children:
        _remove(parent)
