"""Stage the site of a study and render it with Jupyter Book."""

import base64
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from reading_list import pages as reading_list_pages
from zeroshot import catalog, results, store, study
from zeroshot.runtime import escaping, paths
from zeroshot.site import (
    absent_pages,
    api,
    citations,
    corpora,
    figure_files,
    outputs,
    pages,
    rendering,
    repository,
    run_grid,
)
from zeroshot.store import dependencies, hashing

# What is staged as it stands in the repository, besides the executed notebooks.
PROSE = ("_config.yml", "_toc.yml", "CHANGELOG.md", "CONTRIBUTING.md", "README.md")
# Where downloads are staged; what is in `extra` is copied to the root of the book.
DOWNLOADS = "extra/downloads"


class BookError(RuntimeError):
    """Jupyter Book refused the site."""


def plan(name: str, source: study.Source) -> None:
    """Write the hashes of all that the rendered book depends on besides tables and executed notebooks."""
    home = paths.home()
    sources = [home / file for file in PROSE] + [p for p in sorted((home / "book").rglob("*")) if p.is_file()]
    sources += pages.measurements()
    sources += sorted((home / "data").glob("*.yml")) + sorted((home / "data" / "literature").iterdir())
    for package in dependencies.LIBRARIES:  # the API pages and the glossary are made from docstrings
        sources += sorted((paths.PACKAGE.parent / package).rglob("*.py"))
    hashes = {str(path): hashing.short_sha256(path) for path in sources}
    file = paths.build() / "site-plan.json"
    content = {
        "study": name,
        "source": source,
        "repository": repository.description(),  # where the buttons lead
        "sources": hashes,
        "packages": store.versions(),
    }
    store.write_text(file, json.dumps(content, indent=1, sort_keys=True) + "\n")


def stage(name: str) -> Path:
    """Copy prose and executed notebooks to ``build/site``; write the generated pages and downloads there.

    Chapters that the study does not have are left out: the table of contents does not list them, and links to
    them lead to the status page. From committed scores so are those that read cells.
    """
    site = paths.build() / "site"
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    for file in PROSE:
        shutil.copy2(paths.home() / file, site / file)
    shutil.copytree(paths.home() / "book", site / "book")
    card, source = catalog.study(name), study.source_of(name)
    pages_of_book, scores = study.pages(card, source), results.load(name)
    for page in pages_of_book:
        target = site / f"{page.path}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(pages.executed(name, page), target)
        outputs.clean(target)
        figure_files.stage(target, page.path, site / DOWNLOADS)
        if page.notebook == "run":
            set_title(target, pages.run_title(page))
    generated = {
        "glossary": pages.glossary(),
        "runs": run_grid.page(card, pages_of_book, scores),
        "status": pages.status_page(card, source, pages_of_book),
        "models": pages.models_page(pages_of_book),
        "benchmarks": pages.benchmarks_page(),
        "corpora": corpora.page(),
        **api.pages(),
        **reading_list_pages.pages(),
    }
    for title, text in generated.items():
        store.write_text(site / "book" / f"{title}.md", text)
    _stage_downloads(site, card, pages_of_book)
    _stage_figure(site)
    pages_of_site = [*(site / "book").rglob("*.md"), *site.glob("*.md"), *site.glob("*/**/*.ipynb")]
    references = citations.bibliography(page.read_text() for page in pages_of_site)
    store.write_text(site / "book" / "references.bib", references)
    _link_to_repository(site)
    _name_study(site, card)
    absent_pages.leave_out(
        site, set(absent_pages.chapters_of_contents()) - {page.path for page in pages_of_book}
    )
    if source == "committed":
        _announce_committed(site)
    return site


def build(name: str, cores: int = 1) -> Path:
    """Render the book of a study; return its first page.

    Parameters
    ----------
    name
        Of the study.
    cores
        Processes that read and write pages.

    Raises
    ------
    BookError
        On any warning: broken links and missing numbers must not be published.
    """
    site = stage(name)
    begin = time.perf_counter()
    # The package has no __main__, and its command no option for Sphinx's number of processes.
    start = "import functools; from zeroshot.runtime import processes; processes.end_with_parent(); "
    start += "from jupyter_book import sphinx; from jupyter_book.cli.main import main; "
    start += f"sphinx.build_sphinx = functools.partial(sphinx.build_sphinx, jobs={cores}); main()"
    command = [sys.executable, "-c", start, "build", "-W", "--keep-going", "--quiet", str(site)]
    process = subprocess.run(command, capture_output=True, text=True)
    rendered = site / "_build" / "html"
    if process.returncode != 0 or not (rendered / "index.html").is_file():
        raise BookError(f"Jupyter Book refused the site:\n{process.stdout[-6000:]}\n{process.stderr[-6000:]}")
    rendering.tell(rendered, time.perf_counter() - begin)
    target = paths.build() / "html"
    shutil.rmtree(target, ignore_errors=True)
    rendered.rename(target)
    return target / "index.html"


def _stage_downloads(site: Path, card: catalog.StudyCard, pages_of_book: list[study.Page]) -> None:
    """Copy the tables of the study, and name them for the line below each page."""
    folder = site / DOWNLOADS
    for name, text in reading_list_pages.downloads().items():
        store.write_text(folder / name, text)
    files = []
    for name, layout in results.TABLES.items():
        file = f"{card.name}-{name}.csv"
        store.write_text(folder / file, (paths.study(card.name) / f"{name}.csv").read_text())
        files.append({"file": file, "title": layout.title})
    for page in pages_of_book:
        if page.notebook == catalog.RUN_PAGE:
            text = (paths.study(card.name) / page.path / "scores.csv").read_text()
            store.write_text(folder / f"{page.path}.csv", text)
    config = yaml.safe_load((site / "_config.yml").read_text())
    # For book/_templates/downloads.html.
    config["sphinx"]["config"]["html_context"]["study_downloads"] = {"study": card.name, "tables": files}
    store.write_text(site / "_config.yml", yaml.safe_dump(config, sort_keys=False))


def _stage_figure(site: Path) -> None:
    """Put the figure of the home page beside it: what a chapter's cell tagged ``home-page`` has drawn."""
    for file in site.glob("notebooks/*.ipynb"):
        for cell in json.loads(file.read_text())["cells"]:
            if "home-page" in cell["metadata"].get("tags", ()):
                images = [o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})]
                if images:  # there is none where a study has nothing to draw
                    (site / "book" / "home-page.png").write_bytes(base64.b64decode(images[0]))


def _name_study(site: Path, card: catalog.StudyCard) -> None:
    """Let pages write the name of the study as ``{{ study }}``."""
    config = yaml.safe_load((site / "_config.yml").read_text())
    config["sphinx"]["config"]["myst_substitutions"] = {"study": card.name}
    store.write_text(site / "_config.yml", yaml.safe_dump(config, sort_keys=False))


def _link_to_repository(site: Path) -> None:
    """Buttons to the repository and to services that open its notebooks, where its address is known."""
    try:
        sources = repository.find()
    except repository.NoRepositoryError:  # the status page says why
        return
    config = yaml.safe_load((site / "_config.yml").read_text())
    repository.configure(config, sources)
    store.write_text(site / "_config.yml", yaml.safe_dump(config, sort_keys=False))


def _announce_committed(site: Path) -> None:
    """Say on top of every page that no score was computed."""
    config = yaml.safe_load((site / "_config.yml").read_text())
    config["sphinx"]["config"]["html_theme_options"]["announcement"] = (
        "Made from committed scores: this build has computed none. The status page says more."
    )
    store.write_text(site / "_config.yml", yaml.safe_dump(config, sort_keys=False))


def set_title(notebook: Path, title: str) -> None:
    """Replace the text of the first heading: the title of a run depends on its parameters and on cards."""
    content = json.loads(notebook.read_text())
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and source.startswith("# "):
            _, _, rest = source.partition("\n")
            cell["source"] = f"# {escaping.verbatim(title)}\n{rest}"
            break
    notebook.write_text(json.dumps(content, ensure_ascii=False))
