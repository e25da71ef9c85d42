"""Pages of the book that are generated: glossary, models, status, benchmarks."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from zeroshot import catalog, metrics, results, study
from zeroshot.notebooks import stamp
from zeroshot.runtime import escaping, paths
from zeroshot.site import absent_pages, citations, markdown, rendering, repository
from zeroshot.site import cards as every_card


def executed(name: str, page: study.Page) -> Path:
    """Where the executed notebook of a page is."""
    return paths.study(name) / "executed" / f"{page.path}.ipynb"


def run_title(page: study.Page) -> str:
    """For example "PCA on PBMC 68k"; a recipe other than the default is named."""
    method = catalog.model(page.parameters["model"]).method(page.parameters["recipe"])
    return f"{method} on {catalog.dataset(page.parameters['dataset']).title}"


def chapter_title(notebook: str) -> str:
    """The first heading of a notebook, given by its name."""
    first = json.loads((paths.notebooks() / f"{notebook}.ipynb").read_text())["cells"][0]
    return "".join(first["source"]).splitlines()[0].removeprefix("# ")


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


def status_page(card: catalog.StudyCard, source: study.Source, pages: list[study.Page]) -> str:
    """Every page's stamp in one table, where committed scores come from, and what was skipped."""
    stamps = {page.path: stamp.read(executed(card.name, page)) for page in pages}
    devices = sorted({record["device"] for record in stamps.values()})
    rows = [_status_row(page, stamps[page.path]) for page in pages]
    about = (
        "*Embedding* and *scores* are the time and the peak memory of computing what it shows, which may "
        "have been earlier; memory is that of the whole process, libraries included, and the first in a "
        "process also pays for imports and compilation. *Data* is the beginning of the content hash. "
    )
    notice, rest = [], _left_out_pairs(card)
    if source == "committed":
        about, notice, rest = "", _committed_notice(card), _committed_runs(card)
        rows = [{column: row[column] for column in ("page", "page (s)", "commit", "UTC")} for row in rows]
    return "\n\n".join(
        [
            "# Status of this build",
            f"Study **{escaping.verbatim(card.name)}**: {escaping.prose(card.description)}",
            *notice,
            f"Executed on {escaping.verbatim(' and '.join(devices))}. *Page* is the time of the whole page "
            f"when it was last executed. {about}Each page ends with its full stamp.",
            repository.description(),
            markdown.table(rows),
            *rest,
            "## Rendering and weight",
            escaping.raw(rendering.PLACEHOLDER),
            "",
        ]
    )


def _left_out_pairs(card: catalog.StudyCard) -> list[str]:
    pairs = [
        f"- {escaping.verbatim(pair.model)} on {escaping.verbatim(pair.dataset)}: "
        f"{escaping.prose(pair.reason)}"
        for pair in study.skipped(card)
    ]
    return ["## Left out", "\n".join(pairs) or "No run: every pair of the grid was run.", *_unlisted(card)]


def _unlisted(card: catalog.StudyCard) -> list[str]:
    """Chapters of the book that the study does not list."""
    names = [PurePosixPath(page).name for page in absent_pages.chapters_of_contents()]
    titles = [f"- {chapter_title(name)}" for name in names if name not in card.chapters]
    about = "Chapters that the study does not list in its `chapters`:"
    return [about, "\n".join(titles)] if titles else []


def _committed_notice(card: catalog.StudyCard) -> list[str]:
    notice = (
        ":::{important}\n"
        "No score in this book was computed by this build. They are those of "
        f"`data/scores/{card.name}`, which `zeroshot keep {card.name}` wrote after a run of the study. "
        "Which stored results they come from is listed [below](#runs-whose-scores-are-committed). "
        "Pages that read cells are [left out](#left-out).\n"
        ":::"
    )
    datasets = set(results.load_runs(card.name)["dataset"])
    absent = [catalog.dataset(name).title for name in card.datasets if name not in datasets]
    if not absent:
        return [notice]
    titles = "; ".join(map(escaping.verbatim, absent))
    return [
        notice,
        ":::{warning}\n"
        f"{len(absent)} of the study's {len(card.datasets)} data sets have no committed scores yet, and no "
        f"page counts them: {titles}.\n"
        ":::",
    ]


def _committed_runs(card: catalog.StudyCard) -> list[str]:
    """What the committed scores are of, and what a build from them does not have."""
    rows = [
        {
            "run": escaping.verbatim(f"{run.method} on {catalog.dataset(run.dataset).title}"),
            "cells": f"{run.n_cells:,}",
            "seed": f"{run.seed}",
            "scores": escaping.verbatim(run.key),
        }
        for run in results.load_runs(card.name).itertuples()
    ]
    chapters = [f"- {chapter_title(page.notebook)}" for page in study.absent_chapters(card, "committed")]
    return [
        "## Runs whose scores are committed",
        "*Scores* is the name of the stored result, a hash of everything it depends on: data, weights, "
        "parameters and code. Where a run of the study has another name for it, something of that changed.",
        markdown.table(rows),
        "## Left out",
        f"The page of each run, and the chapters that read cells. `zeroshot book {card.name}` computes the "
        "study and builds them:",
        "\n".join(chapters) or "- none",
        *_unlisted(card),
        "Pairs of the study's grid without a score:",
        "\n".join(_pairs_without_scores(card)) or "- none",
    ]


def _pairs_without_scores(card: catalog.StudyCard) -> list[str]:
    """One item for each data set and reason, with the models that have no committed score there."""
    models: dict[tuple[str, str], list[str]] = {}
    for dataset, reference in results.without_committed_scores(card.name):
        reason = study.misfit(dataset, reference) or "no scores are committed, not computed yet"
        models.setdefault((dataset, reason), []).append(escaping.verbatim(reference))
    return [
        f"- {escaping.verbatim(dataset)} with {', '.join(references)}: {escaping.prose(reason)}"
        for (dataset, reason), references in models.items()
    ]


def _status_row(page: study.Page, record: dict[str, Any]) -> dict[str, str]:
    cost = {artifact["stage"]: artifact for artifact in record["artifacts"]} if page.notebook == "run" else {}
    embedding, scores = cost.get("embedding"), cost.get("scores")
    title = run_title(page) if page.notebook == "run" else page.notebook
    return {
        "page": f"[{escaping.verbatim(title)}](../{page.path}.ipynb)",
        "page (s)": f"{record['seconds']:.0f}",
        "embedding (s)": f"{embedding['seconds']:.1f}" if embedding else "–",
        "embedding (MB)": f"{embedding['peak_memory_mb']:.0f}" if embedding else "–",
        "scores (s)": f"{scores['seconds']:.1f}" if scores else "–",
        "data": escaping.verbatim(
            record["data"][:8] if record["data"] and " " not in record["data"] else "–"
        ),
        "commit": escaping.verbatim(record["commit"]),
        "UTC": escaping.verbatim(record["finished"][:16].replace("T", " ")),
    }


def models_page(pages: list[study.Page] = ()) -> str:
    """The cards of all models: what the pretrained ones are and were trained on, and every recipe.

    Run pages among those of a build are linked.
    """
    cards = catalog.models().values()
    pretrained = [card for card in cards if card.weights]
    shapes = [
        {
            "model": citations.cited_title(card),
            "layers": f"{card.layers or '–'}",
            "width": f"{card.dim}",
            "parameters": f"{card.parameter_count:,}" if card.parameter_count else "–",
            "most tokens": f"{card.max_tokens:,}" if card.max_tokens else "–",
            "genes by": escaping.verbatim(card.gene_ids or "–"),
            "licence of code": escaping.prose(card.licence),
            "licence of weights": escaping.prose(card.weights_licence or "–"),
        }
        for card in pretrained
    ]
    corpora = [
        {
            "model": escaping.verbatim(card.title),
            "trained on": escaping.prose("; ".join(card.pretrained_on.corpora)),
            "data sets here in it": escaping.prose(", ".join(_known_of_model(card))),
            "source": escaping.prose(card.pretrained_on.source),
            "what was run": escaping.prose(" ".join(card.verified.split())),
        }
        for card in pretrained
    ] + [_corpus_of_other(card) for card in catalog.other_models().values() if card.pretrained_on]
    recipes: dict[tuple[str, str, str, bool], list[str]] = {}
    for card in cards:
        for name, recipe in card.recipes.items():
            parameters = ", ".join(f"{key} {value}" for key, value in recipe.parameters.items()) or "–"
            recipes.setdefault((name, recipe.source, parameters, recipe.neighbors), []).append(card.title)
    conventions = [
        {
            "recipe": escaping.code(name),
            "of": escaping.verbatim(", ".join(titles)),
            "parameters": escaping.prose(parameters),
            "other cells": "change the embedding" if neighbors else "–",
            "source": escaping.prose(source),
        }
        for (name, source, parameters, neighbors), titles in recipes.items()
    ]
    return (
        "\n\n".join(
            [
                "# Models",
                "Every model that a study can name, from its entry in `data/models.yml`. Which took part in "
                "this build is on the [status page](status.md).",
                "## Every model",
                "By family, the default recipe first. An untrained twin has random weights. Models that "
                "cannot be run here come last, each with the reason (`data/other_models.yml`).",
                every_card.table(pages),
                "## Pretrained networks",
                "Width is that of the layers, and of PCA, autoencoder, scVI and SCimilarity that of the "
                "embedding. Recipes may join or project layers, so that an embedding has another width.",
                markdown.table(shapes),
                "## What they were trained on",
                "A data set that a model has seen in training is no test of it.",
                markdown.table(corpora),
                "## Recipes",
                "The same weights are used in several ways in several places. Each way is a recipe with its "
                "source; a study names it as `model@recipe`. Where other cells change the embedding of a "
                "cell, scores of a subset are not those of the whole.",
                markdown.table(conventions),
            ]
        )
        + "\n"
    )


def _corpus_of_other(card: catalog.OtherModel) -> dict[str, str]:
    return {
        "model": escaping.verbatim(card.title),
        "trained on": escaping.prose("; ".join(card.pretrained_on.corpora)),
        "data sets here in it": escaping.prose(", ".join(_known_of(card.pretrained_on))),
        "source": escaping.prose(card.pretrained_on.source),
        "what was run": "nothing: it cannot be run here",
    }


def benchmarks_page() -> str:
    """Measurements that were kept of ``make bench``, each with the machine and the commit it was made on."""
    sections = [
        "# Benchmarks",
        "Measured once and kept; `make bench` measures anew. Speed and memory stand beside the reference "
        "implementations, as ratios within one run: absolute times say more about a machine than about code.",
    ]
    for file in measurements():
        data = json.loads(file.read_text())
        sections += [
            f"## {escaping.verbatim(data['title'])}",
            escaping.prose(data["about"]),
            markdown.table([_texts(row) for row in data["table"]]),
            f"Repeats: {data['repeats']}; {escaping.verbatim(data['device'])}; "
            f"torch {escaping.verbatim(data['packages']['torch'])}; "
            f"commit {escaping.verbatim(data['commit'])}; {escaping.verbatim(data['finished'][:10])}.",
            *([f"**What bounds it.** {escaping.prose(_prose(data['bounds']))}"] if data["bounds"] else []),
        ]
    return "\n\n".join(sections) + "\n"


def measurements() -> list[Path]:
    """Files of the measurements that were kept."""
    return sorted((paths.home() / "benchmarks" / "measured").glob("*.json"))


def _texts(row: dict[str, str]) -> dict[str, str]:
    return {escaping.verbatim(name): escaping.prose(text) for name, text in row.items()}


def _prose(docstring: str) -> str:
    """Docstring text as Markdown: its code is marked the reStructuredText way."""
    return docstring.replace("``", "`")


def _known_of(pretraining: catalog.Pretraining) -> list[str]:
    """What is known of each data set's part in a model's training data, in words."""
    datasets = [f"{name} ({mark})" for name, mark in pretraining.datasets.items()]
    return [*datasets, f"{'others' if datasets else 'all'} {pretraining.other_datasets}"]


def _known_of_model(card: catalog.ModelCard) -> list[str]:
    """As :func:`_known_of`; of a corpus of this project it follows from the sources and their studies."""
    if not card.pretrained_on.corpus:
        return _known_of(card.pretrained_on)
    marks = {name: catalog.seen_in_pretraining(card.name, name) for name in catalog.datasets()}
    return [*(f"{name} ({mark})" for name, mark in marks.items() if mark != "unknown"), "others unknown"]
