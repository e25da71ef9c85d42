"""Stage the site of a study and render it with Jupyter Book."""

import html
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from zeroshot import catalog, dependencies, metrics, paths, results, stamp, store, study

# What is staged as it stands in the repository, besides the executed notebooks.
PROSE = ("_config.yml", "_toc.yml", "CHANGELOG.md", "CONTRIBUTING.md", "README.md")


class BookError(RuntimeError):
    """Jupyter Book refused the site."""


def plan(name: str) -> str:
    """Write the hashes of all that the rendered book depends on besides executed notebooks.

    Returns
    -------
    str
        Path of the plan file, relative to the project.
    """
    home = paths.home()
    sources = [home / file for file in PROSE] + [p for p in sorted((home / "book").rglob("*")) if p.is_file()]
    sources += _measurements()
    sources += sorted(paths.PACKAGE.rglob("*.py"))  # the API pages and the glossary are made from docstrings
    hashes = {str(path): dependencies.file_hash(path) for path in sources}
    file = paths.build() / "site-plan.json"
    content = {"study": name, "sources": hashes, "packages": store.versions()}
    store.write_text(file, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return str(file.relative_to(home))


def stage(name: str) -> Path:
    """Copy prose and executed notebooks to ``build/site`` and write the generated pages there."""
    site = paths.build() / "site"
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    for file in PROSE:
        shutil.copy2(paths.home() / file, site / file)
    shutil.copytree(paths.home() / "book", site / "book")
    card = catalog.study(name)
    runs, chapters = study.run_pages(card), study.chapters(card)
    for page in runs + chapters:
        target = site / f"{page.path}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(executed(name, page), target)
    for page in runs:
        _set_title(site / f"{page.path}.ipynb", run_title(page))
    scores = results.load(name)
    store.write_text(site / "book" / "glossary.md", glossary())
    store.write_text(site / "book" / "runs.md", runs_page(card, runs, scores))
    store.write_text(site / "book" / "status.md", status_page(card, runs + chapters))
    store.write_text(site / "book" / "models.md", models_page())
    store.write_text(site / "book" / "benchmarks.md", benchmarks_page())
    return site


def build(name: str) -> Path:
    """Render the book of a study; return its first page.

    Raises
    ------
    BookError
        On any warning: broken links and missing numbers must not be published.
    """
    site = stage(name)
    start = "from jupyter_book.cli.main import main; main()"  # the package has no __main__
    command = [sys.executable, "-c", start, "build", "-W", "--keep-going", "--quiet", str(site)]
    done = subprocess.run(command, capture_output=True, text=True)
    rendered = site / "_build" / "html"
    if done.returncode != 0 or not (rendered / "index.html").is_file():
        raise BookError(f"Jupyter Book refused the site:\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")
    published = paths.build() / "html"
    shutil.rmtree(published, ignore_errors=True)
    rendered.rename(published)
    return published / "index.html"


def executed(name: str, page: study.Page) -> Path:
    """Where the executed notebook of a page is."""
    return paths.study(name) / "executed" / f"{page.path}.ipynb"


def run_title(page: study.Page) -> str:
    """For example "PCA on PBMC 68k"; a recipe other than the default is named."""
    method = catalog.model(page.parameters["model"]).method(page.parameters["recipe"])
    return f"{method} on {catalog.dataset(page.parameters['dataset']).title}"


def glossary() -> str:
    """A page with one section per registered metric, from its docstring."""
    sections = [
        "# Glossary of metrics",
        "Every score of this book, as the function that computes it documents it.",
    ]
    for metric in metrics.METRICS.values():
        entry = metric.glossary()
        sections += [
            f"({metric.name})=\n## {entry['label']}",
            f"`{metric.name}`, {entry['group']}. {_prose(entry['summary'])}",
            f"$$\n{entry['formula']}\n$$",
            f"Range\n: {_prose(entry['range'])}; {entry['direction']}.",
            f"Known failure\n: {_prose(entry['known_failure'])}",
            f"Source\n: {_prose(entry['source'])}",
        ]
        if entry["differs"]:
            sections.append(f"How ours differs\n: {_prose(entry['differs'])}")
    return "\n\n".join(sections) + "\n"


def runs_page(card: catalog.StudyCard, runs: list[study.Page], scores: pd.DataFrame) -> str:
    """Method by data set, each cell the AvgBIO of the run and a link to its page."""
    pages = {page.path: page for page in runs}
    chosen = scores[scores["metric"] == "avg_bio"]
    values = chosen.set_index(["dataset", "model", "recipe"])["value"]
    titles = [_escape(catalog.dataset(dataset).title) for dataset in card.datasets]
    rows = ["| method | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for reference in card.models:
        model, recipe = catalog.split_reference(reference)
        cells = [_escape(model.method(recipe))]
        for dataset in card.datasets:
            page = pages.get(study.run_path(dataset, reference))
            value = values.get((dataset, model.name, recipe), float("nan"))
            shown = "not scored" if pd.isna(value) else f"{value:.2f}"
            cells.append(f"[{shown}](../{page.path}.ipynb)" if page else "–")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(
        [
            "# All runs",
            "",
            "One page per method and data set. The number is the AvgBIO of the run "
            "(0 to 1, higher is better); the [status page](status.md) says why a pair was left out (–).",
            "",
            *rows,
            "",
        ]
    )


def status_page(card: catalog.StudyCard, pages: list[study.Page]) -> str:
    """Every page's stamp in one table, and the pairs that were left out."""
    stamps = {page.path: stamp.read(executed(card.name, page)) for page in pages}
    devices = sorted({made["device"] for made in stamps.values()})
    columns = ["page", "page (s)", "embedding (s)", "embedding (MB)", "scores (s)", "data", "commit", "UTC"]
    rows = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    rows += [_status_row(page, stamps[page.path]) for page in pages]
    left_out = [
        f"- {_escape(pair.model)} on {_escape(pair.dataset)}: {_escape(pair.reason)}"
        for pair in study.skipped(card)
    ]
    return "\n".join(
        [
            "# Status of this build",
            "",
            f"Study **{_escape(card.name)}**: {_escape(card.description)}",
            "",
            f"Executed on {_escape(' and '.join(devices))}. *Page* is the time of the whole page when it was "
            "last executed. *Embedding* and *scores* are the time and the peak memory of computing what it "
            "shows, which may have been earlier; memory is that of the whole process, libraries included, "
            "and the first in a process also pays for imports and compilation. *Data* is the beginning of "
            "the content hash. Each page ends with its full stamp.",
            "",
            *rows,
            "",
            "## Left out",
            "",
            *(left_out or ["Nothing: every pair of the grid was run."]),
            "",
        ]
    )


def _status_row(page: study.Page, made: dict[str, Any]) -> str:
    cost = {artifact["stage"]: artifact for artifact in made["artifacts"]} if page.notebook == "run" else {}
    embedded, scored = cost.get("embedding"), cost.get("scores")
    cells = [
        f"[{_escape(run_title(page) if page.notebook == 'run' else page.notebook)}](../{page.path}.ipynb)",
        f"{made['seconds']:.0f}",
        f"{embedded['seconds']:.1f}" if embedded else "–",
        f"{embedded['peak_memory_mb']:.0f}" if embedded else "–",
        f"{scored['seconds']:.1f}" if scored else "–",
        _escape((made["data"] or "–")[:8]),
        _escape(made["commit"]),
        _escape(made["finished"][:16].replace("T", " ")),
    ]
    return "| " + " | ".join(cells) + " |"


def models_page() -> str:
    """The cards of all models: what the pretrained ones are and were trained on, and every recipe."""
    cards = catalog.models().values()
    pretrained = [card for card in cards if card.weights]
    shapes = [
        {
            "model": f"{_escape(card.title)} {_cite(card)}",
            "layers": f"{card.layers}",
            "width": f"{card.dim}",
            "parameters": f"{card.parameter_count:,}" if card.parameter_count else "–",
            "most tokens": f"{card.max_tokens:,}",
            "genes by": card.gene_ids,
            "licence of code": _escape(card.licence),
            "licence of weights": _escape(card.weights_licence),
        }
        for card in pretrained
    ]
    corpora = [
        {
            "model": _escape(card.title),
            "trained on": _escape("; ".join(card.pretrained_on.corpora)),
            "data sets here in it": _escape(", ".join(_known_of(card.pretrained_on))),
            "source": _escape(card.pretrained_on.source),
            "what was run": _escape(" ".join(card.verified.split())),
        }
        for card in pretrained
    ]
    recipes: dict[tuple[str, str, str], list[str]] = {}
    for card in cards:
        for name, recipe in card.recipes.items():
            shown = ", ".join(f"{key} {value}" for key, value in recipe.parameters.items()) or "–"
            recipes.setdefault((name, recipe.source, shown), []).append(card.title)
    conventions = [
        {
            "recipe": f"`{name}`",
            "of": _escape(", ".join(titles)),
            "parameters": _escape(shown),
            "source": _escape(source),
        }
        for (name, source, shown), titles in recipes.items()
    ]
    return (
        "\n\n".join(
            [
                "# Models",
                "Every model that a study can name, from its entry in `data/models.yml`. Which took part in "
                "this build is on the [status page](status.md).",
                "## Pretrained networks",
                _table(shapes),
                "## What they were trained on",
                "A data set that a model has seen in training is no test of it.",
                _table(corpora),
                "## Recipes",
                "The same weights are used in several ways in several places. Each way is a recipe with its "
                "source; a study names it as `model@recipe`.",
                _table(conventions),
            ]
        )
        + "\n"
    )


def benchmarks_page() -> str:
    """Measurements that were kept of ``make bench``, each with the machine and the commit it was made on."""
    sections = [
        "# Benchmarks",
        "Measured once and kept; `make bench` measures anew. Speed and memory stand beside the reference "
        "implementations, as ratios within one run: absolute times say more about a machine than about code.",
    ]
    for file in _measurements():
        kept = json.loads(file.read_text())
        sections += [
            f"## {_escape(kept['title'])}",
            _escape(kept["about"]),
            _table([{name: _escape(text) for name, text in row.items()} for row in kept["table"]]),
            f"{kept['repeats']} repeats; {_escape(kept['device'])}; "
            f"torch {_escape(kept['packages']['torch'])}; commit {_escape(kept['commit'])}; "
            f"{_escape(kept['finished'][:10])}.",
            *([f"**What bounds it.** {_prose(_escape(kept['bounds']))}"] if kept["bounds"] else []),
        ]
    return "\n\n".join(sections) + "\n"


def _measurements() -> list[Path]:
    return sorted((paths.home() / "benchmarks" / "measured").glob("*.json"))


def _set_title(notebook: Path, title: str) -> None:
    """Replace the text of the first heading: the title of a run depends on its parameters."""
    content = json.loads(notebook.read_text())
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and source.startswith("# "):
            _, _, rest = source.partition("\n")
            cell["source"] = f"# {title}\n{rest}"
            break
    notebook.write_text(json.dumps(content, ensure_ascii=False))


def _table(rows: list[dict[str, str]]) -> str:
    """Markdown table of rows with the same columns, texts already escaped."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row.values()) + " |" for row in rows])


def _cite(card: catalog.ModelCard) -> str:
    return f"{{cite:p}}`{card.citation}`" if card.citation else ""


def _prose(docstring: str) -> str:
    """Docstring text as Markdown: its code is marked the reStructuredText way."""
    return docstring.replace("``", "`")


def _known_of(pretraining: catalog.Pretraining) -> list[str]:
    """What is known of each data set's part in a model's training data, in words."""
    known = [f"{name} ({seen})" for name, seen in pretraining.datasets.items()]
    return [*known, f"{'others' if known else 'all'} {pretraining.other_datasets}"]


def _escape(text: str) -> str:
    """Text for a Markdown table: no HTML, no column separators."""
    return html.escape(text).replace("|", "\\|")


if __name__ == "__main__":
    try:
        build(sys.argv[1])
    except BookError as error:
        raise SystemExit(str(error)) from None
