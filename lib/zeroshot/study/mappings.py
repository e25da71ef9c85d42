"""The mappings of a study: cells of one data set get labels of another, with every model that can."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from zeroshot import catalog, data, pipeline, results, store

from .ablations import raise_if_of_machine


def compute(parameters: Mapping[str, Any], directory: Path, policy: store.Policy = "reuse") -> None:
    """Score the labels that cells of a query get from a reference, and write the table of it.

    Both are embedded together, as :func:`zeroshot.pipeline.annotate` does. A model whose embedding of these
    cells fails has no rows; why is printed.

    Parameters
    ----------
    parameters
        ``reference`` and ``query``, data sets; ``models`` (``name`` or ``name@recipe``); ``subset``, cells of
        each of the two; ``seed`` and ``precision``.
    directory
        Gets ``mapping.csv``.
    policy
        As for :func:`zeroshot.store.load_or_compute`.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If a data set has a label that ``data/cell_types.yml`` does not list.
    zeroshot.tokens.genes.GeneOverlapError
        If the two have too few genes in common.
    Exception
        What the machine lacks (memory, disk, a stored result) is no result: the next run tries again.
    """
    names = parameters["reference"], parameters["query"]
    how = {name: parameters[name] for name in ("seed", "precision")} | {"policy": policy}
    reference, query = (comparable_cells(name, parameters["subset"], parameters["seed"]) for name in names)
    cells = pipeline.join(reference, query)
    labels, truth = (part.obs["cell_type"].to_numpy(str) for part in (reference, query))
    tables = [results.TABLES["mapping"].empty()]
    for model_name in parameters["models"]:
        model, recipe = catalog.split_reference(model_name)
        try:
            embedded = pipeline.embed(cells, model.name, recipe, **how)
            scored = pipeline.score_mapping(
                cells, labels, truth, embedded, seed=parameters["seed"], policy=policy
            )
        except Exception as error:
            raise_if_of_machine(error)
            print(f"{model_name} maps nothing of {names[1]} on {names[0]}: {error}", file=sys.stderr)
            continue
        about = {"dataset": names[1], "model": model.name, "recipe": recipe, "reference": names[0]}
        tables.append(scored.load("mapping").assign(**about))
    results.write(directory, {"mapping": pd.concat(tables, ignore_index=True)})


def comparable_cells(dataset: str, subset: int, seed: int = 0) -> AnnData:
    """At most some cells of a data set, with types under the names that all data sets share.

    Cells whose label may be of several types are left out.

    Raises
    ------
    zeroshot.catalog.CatalogError
        If the data set has a label that ``data/cell_types.yml`` does not list.
    """
    cells, types = data.load(dataset, subset=subset, seed=seed), catalog.cell_types(dataset)
    labels = cells.obs["cell_type"].astype(str)
    for label in labels.unique():
        catalog.find(types, label, f"label of {dataset} in data/cell_types.yml")
    titles = labels.map(types)
    cells = cells[titles.notna().to_numpy()].copy()
    cells.obs["cell_type"] = titles.dropna().astype("category")
    return cells
