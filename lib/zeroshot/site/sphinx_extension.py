"""What the theme cannot be told, as an extension of Sphinx that ``_config.yml`` names.

Run pages are in the book's order and in its search, but not in the sidebar; pages that are not in it share
one drawing of it. Only pages whose source is in the repository have buttons to edit it and to open it in
Binder or Colab. MathJax is loaded by pages with formulas only. Attributes that are described together are
named together. The theme and the search show titles as text.
"""

import html
import importlib
import posixpath
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from pybtex.backends import plaintext
from pybtex.plugin import register_plugin
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.search import js_index

from zeroshot.runtime import escaping, paths
from zeroshot.store import dependencies

_RUNS = "runs/"  # pages of runs are below it
_BEFORE_THE_THEME, _AFTER_THE_THEME = 400, 600
# Jupyter Book brings them. One numbers sections once all pages are read, and only where asked; the other
# writes LaTeX. That they do not say so would be a warning, and all pages would be read by one process.
_SAFE = ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", read_in_parallel)
    app.connect("builder-inited", edit_on_branch, priority=_AFTER_THE_THEME)
    app.connect("env-updated", leave_out_of_sidebar)
    app.connect("env-updated", keep_titles)
    app.connect("env-updated", leave_out_foreign_sources)
    app.connect("html-page-context", share_sidebar, priority=_BEFORE_THE_THEME)
    # Else sought among all installed packages at each citation, for a hundredth of a second.
    register_plugin("pybtex.backends", "plaintext", plaintext.Backend, force=True)
    app.connect("autodoc-process-docstring", name_together, priority=_AFTER_THE_THEME)
    app.connect("html-page-context", drop_buttons_without_source, priority=_AFTER_THE_THEME)
    app.connect("html-page-context", drop_unused_mathjax, priority=_AFTER_THE_THEME)
    app.connect("html-page-context", escape_titles_of_theme, priority=_AFTER_THE_THEME)
    app.connect("build-finished", escape_titles_of_search)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def read_in_parallel(app: Sphinx) -> None:
    """Two extensions are as safe as the others for several processes, which share what is imported by now."""
    for name in _SAFE:
        app.extensions[name].parallel_read_safe = True
    importlib.import_module("torch")  # by what the pages about models document


def edit_on_branch(app: Sphinx) -> None:
    """Edits are of a branch, though everything else leads to a commit."""
    context = app.config.html_context
    for provider in ("github", "gitlab"):
        if "edit_branch" in context and f"{provider}_version" in context:
            context[f"{provider}_version"] = context["edit_branch"]


def leave_out_of_sidebar(app: Sphinx, environment: BuildEnvironment) -> None:
    """Take run pages out of the tree that the sidebar draws: there are too many, and the grid leads to them.

    Previous and next, and whether a page is listed at all, Sphinx reads elsewhere
    (``environment.toctree_includes``).
    """
    for tree in environment.tocs.values():
        for toctree in list(tree.findall(addnodes.toctree)):
            pages = toctree["includefiles"]
            if pages and all(name.startswith(_RUNS) for name in pages):
                _remove(toctree)


def keep_titles(app: Sphinx, environment: BuildEnvironment) -> None:
    """Of what each page adds to the sidebar, its title and the trees below it, without its other headings."""
    app.builder.__dict__["zeroshot_titles"] = titles = {}
    for name, headings in environment.tocs.items():
        titles[name] = headings.deepcopy()
        for entry in titles[name].children:
            if trees := list(entry.findall(addnodes.toctree)):
                entry[1][:] = trees
            else:
                entry[1:] = []


def leave_out_foreign_sources(app: Sphinx, environment: BuildEnvironment) -> None:
    """A function whose results are kept is functools' for Sphinx: its source would be a page of the book."""
    sources = environment.__dict__.get("_viewcode_modules", {})
    for name in [name for name in sources if name.partition(".")[0] not in dependencies.LIBRARIES]:
        del sources[name]


def share_sidebar(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Draw the sidebar once for all pages of a folder that are not in it: run pages, sources of modules.

    None of them is marked in it as the page that is read, and its links are the same from all of a folder.
    They are most pages of a book. The theme asks for the drawing of a page four times, so that of a page in
    the sidebar is kept, too. It is kept where the template ``sbt-sidebar-nav.html`` puts it.

    Sphinx would copy all headings of all pages for it, and drop all but the titles.
    """
    draw, environment = context["toctree"], app.env

    def draw_titles(**options: Any) -> str:
        headings, environment.tocs = environment.tocs, app.builder.__dict__["zeroshot_titles"]
        try:
            return draw(**options)
        finally:
            environment.tocs = headings

    context["toctree"] = draw_titles
    if page in app.env.all_docs and not page.startswith(_RUNS):
        context["kept_sidebar"] = []
    else:
        drawings = app.builder.__dict__.setdefault("zeroshot_sidebars", {})
        context["kept_sidebar"] = drawings.setdefault(posixpath.dirname(page), [])


def name_together(app: Sphinx, what: str, name: str, described: Any, options: Any, lines: list[str]) -> None:
    """Attributes "a, b" are one name, with an invisible space: Sphinx would take "a" for the type of "b"."""
    lines[:] = [
        re.sub(r"^:ivar (?:\w+, )+\w+:", lambda names: names[0].replace(", ", ",\u200b"), line)
        for line in lines
    ]


def drop_buttons_without_source(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Of run pages and generated pages the repository has no file to edit, or to open in Binder."""
    if (paths.home() / app.env.doc2path(page, base=False)).is_file():
        return
    buttons = [button for button in context["header_buttons"] if button.get("label") != "launch-buttons"]
    for button in buttons:
        if button.get("label") == "source-buttons":
            button["buttons"] = [one for one in button["buttons"] if one["label"] != "source-edit-button"]
    context["header_buttons"] = buttons


def drop_unused_mathjax(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Sphinx gives MathJax (2 MB) also to pages above those with formulas, the home page among them."""
    if not app.env.get_domain("math").data["has_equations"].get(page):
        context["script_files"] = [
            script
            for script in context["script_files"]
            if getattr(script, "filename", script) != _asset(app.config.mathjax_path)
        ]


def escape_titles_of_theme(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """The theme puts the title, which it takes from the tree as text, above the page to print as HTML."""
    for name in ("pagetitle", "page_description"):
        if name in context:
            context[name] = escaping.escape(context[name])


def escape_titles_of_search(app: Sphinx, error: Exception | None) -> None:
    """Sphinx's search puts headings into its page as HTML, though its index holds them as text."""
    file = Path(app.outdir) / "searchindex.js"
    if error is not None or not file.is_file():
        return
    index = js_index.loads(file.read_text("utf-8"))
    # Quotes stay: Sphinx compares these titles with those of the pages, which it has escaped likewise.
    index["alltitles"] = {
        html.escape(title, quote=False): places for title, places in index["alltitles"].items()
    }
    file.write_text(js_index.dumps(index), "utf-8")


def _asset(path: str) -> str:
    """As Sphinx names a script that it copies to ``_static``."""
    return f"_static/{path}"


def _remove(node: nodes.Element) -> None:
    """Remove a node, and lists that become empty with it."""
    parent = node.parent
    parent.remove(node)
    if isinstance(parent, nodes.bullet_list) and not parent.children:
        _remove(parent)
