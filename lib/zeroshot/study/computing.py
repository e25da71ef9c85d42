"""What the run pages of one data set show, computed in one process before they are executed."""

from zeroshot import catalog, data, pipeline

from .grid import run_pages


def compute(study: str, dataset: str) -> dict[str, dict[str, str]]:
    """Compute and store what the run pages of one data set will show.

    A page computes what it does not find in the store, so this changes no result. It saves the
    seconds that every fresh process spends on importing and compiling numerical code, which for
    small data sets are most of the time of a page.

    Returns
    -------
    dict
        For each page its artifacts' keys, or the error that the page itself will report.
    """
    card = catalog.study(study)
    pages = [page for page in run_pages(card) if page.parameters["dataset"] == dataset]
    try:
        adata = data.load(dataset, subset=card.subset, seed=card.seed)
    except Exception as error:
        return {page.path: {"error": f"{type(error).__name__}: {error}"} for page in pages}
    done = {}
    for page in pages:
        chosen = page.parameters
        try:
            run = (chosen["model"], chosen["recipe"])
            how = {"seed": card.seed, "precision": card.precision}
            embedded = pipeline.embed(adata, *run, **how)
            scored = pipeline.score(adata, embedded, seed=card.seed)
            pipeline.score_other_seeds(adata, scored, *run, seeds=card.seeds, **how)
            pipeline.score_umap(adata, embedded, seed=card.seed)
            pipeline.reconstruct(adata, *run, n_cells=card.reconstruction_cells, **how)
            done[page.path] = {"embedding": embedded.key, "scores": scored.key}
        except Exception as error:  # one failing model must not hold up the pages of the others
            done[page.path] = {"error": f"{type(error).__name__}: {error}"}
    return done
