"""The data contract: what every model and metric may rely on.

The contract: ``X`` holds raw counts as CSR float32 with sorted indices and no
stored zeros; ``obs`` has categorical ``cell_type`` and ``batch`` and float64 ``library_size``; cell and
gene names are unique.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd
from anndata import AnnData

from zeroshot.data.columns import MissingLabels, categories, drop_note, notes_on, texts_of
from zeroshot.data.counts import counts
from zeroshot.data.error import DataError
from zeroshot.data.features import gene_mask, gene_table

# A file may hold sums in float32: allow for its rounding.
ROUNDING = 1e-6


def contract(
    adata: AnnData,
    *,
    name: str,
    label_key: str | None = "cell_type",
    batch_key: str | None = None,
    other_counts: Callable[[], list[str]] = list,
    as_given: bool = False,
    require_labels: bool = True,
    missing_labels: MissingLabels = "refuse",
    library_size: str | None = "library_size",
) -> AnnData:
    """A new AnnData that keeps the contract, made from one that may not.

    Parameters
    ----------
    adata
        Raw counts in ``X`` (cells, genes), sparse or dense; never changed. Features that ``var`` says are
        no gene expression (antibodies, peaks, guides, hashtags, spike-ins) are left out.
    name
        Names the data in messages, and the batch where there is only one.
    label_key
        Column of ``obs`` with cell types; None where labels are not needed.
    batch_key
        Column of ``obs`` with sequencing batches; None for a single batch.
    other_counts
        Called when ``X`` holds no counts: names places of the same file that do.
    as_given
        Any finite non-negative values will do, and the library size is their sum.
    require_labels
        False leaves a label column that cannot be used out, with a note, instead of refusing it.
    missing_labels
        What to do with cells without label or batch, see :func:`zeroshot.data.columns.categories`:
        "refuse", "drop" (leave these cells out) or "keep" (take texts such as "NA" as names).
    library_size
        Column of ``obs`` with the counts of each cell over all genes of the source, also those that ``X``
        does not hold; by default ``library_size``, if there is such a column. None for the counts of ``X``
        in any case, with a note where a column ``library_size`` differs.

    Returns
    -------
    AnnData
        What was decided on the way stands in ``uns["dataset"]["notes"]``, if anything was.

    Raises
    ------
    DataError
        For anything the contract rules out.
    """
    if 0 in adata.shape:
        raise DataError(
            f"{name} is empty: {adata.n_obs} cells x {adata.n_vars} genes. Give it cells and genes."
        )
    cells = texts_of(adata.obs_names, "the names of cells", name)
    _check_names(pd.Index(cells), "cell", name)
    is_gene, notes = gene_mask(adata.var, name)
    genes, more = gene_table(adata.var[is_gene], name)
    notes += more
    _check_names(genes.index, "gene", name)

    repeated = adata.obs.columns[adata.obs.columns.duplicated()]
    if len(repeated):
        raise DataError(
            f"{name}: several columns of obs are named {repeated[0]!r}. Give each a name of its own."
        )
    obs = adata.obs.copy()
    obs.index = pd.Index(cells)
    keep_mask = np.ones(adata.n_obs, bool)
    if label_key is not None:
        try:
            obs["cell_type"] = categories(adata.obs, label_key, "label", name, missing_labels)
        except DataError as error:
            if require_labels:
                raise
            obs = obs.drop(columns="cell_type", errors="ignore")
            notes.append(f"Labels are not needed here and not used: {_first_sentence(error, name)}.")
        else:
            keep_mask &= obs["cell_type"].notna().to_numpy()
    if batch_key is None:
        obs["batch"] = pd.Categorical([name] * adata.n_obs)
    else:
        obs["batch"] = categories(adata.obs, batch_key, "batch", name, missing_labels)
        keep_mask &= obs["batch"].notna().to_numpy()
    note = drop_note(keep_mask, obs.get("cell_type") if label_key is not None else None, name)
    notes += [note] if note else []
    used = [
        (key, obs[column])
        for key, column in ((label_key, "cell_type"), (batch_key, "batch"))
        if key and column in obs
    ]
    notes += [note for key, values in used for note in notes_on(values, key)]

    matrix = counts(adata.X, name, other_counts, columns=is_gene, as_given=as_given)
    if not keep_mask.all():
        matrix, obs = matrix[keep_mask], obs[keep_mask].copy()
    totals = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
    empty = int((totals == 0).sum())
    if empty:
        raise DataError(
            f"{name}: {empty:,} of {len(obs):,} cells have no counts{'' if is_gene.all() else ' in genes'} "
            "at all. Every model divides by a cell's total: remove them, for example with "
            "scanpy.pp.filter_cells(adata, min_counts=1)."
        )
    if library_size is None or as_given or (library_size == "library_size" and library_size not in obs):
        if "library_size" in obs and not as_given and not _equal(obs["library_size"], totals):
            notes.append(
                "The library size of a cell is the sum of its counts; obs['library_size'] of the file "
                "differs and is not used. If it holds the counts over more genes, name it with "
                "library_size='library_size' (command line: --library-size-key library_size)."
            )
        obs["library_size"] = totals
    else:
        obs["library_size"] = _library_sizes(obs, library_size, totals, name)
    for key in obs.columns[obs.dtypes == "category"]:
        obs[key] = obs[key].cat.remove_unused_categories()
    result = AnnData(matrix, obs, genes)
    if notes:
        result.uns["dataset"] = {"notes": notes}
    return result


def _library_sizes(obs: pd.DataFrame, key: str, totals: np.ndarray, name: str) -> np.ndarray:
    """(cells,) the column as float64, refused where it cannot be the counts of a cell over all genes."""
    expected = "the counts of each cell over all genes of the source are expected"
    remedy = (
        "Correct the column, or leave out library_size=… (command line: --library-size-key) to take the "
        "counts of the matrix."
    )
    if key not in obs:
        raise DataError(
            f"{name} has no column {key!r} in obs; {expected}. Columns: {', '.join(map(str, obs.columns))}. "
            f"{remedy}"
        )
    sizes = _numbers(obs[key])
    missing = int((~np.isfinite(sizes)).sum())
    if missing:
        raise DataError(
            f"{name}: {missing:,} of {len(sizes):,} cells have no number in obs[{key!r}]; {expected}. "
            f"{remedy}"
        )
    below = int((sizes < totals * (1 - ROUNDING)).sum())
    if below:
        raise DataError(
            f"{name}: obs[{key!r}] is below the row sum for {below:,} of {len(sizes):,} cells; {expected}. "
            f"{remedy}"
        )
    return sizes


def _first_sentence(error: DataError, name: str) -> str:
    """What was wrong, without the name of the data, which may hold full stops."""
    return str(error).removeprefix(f"{name}: ").removeprefix(f"{name} ").partition(". ")[0]


def _equal(column: pd.Series, totals: np.ndarray) -> bool:
    """True if a column holds the row sums, up to the rounding of float32."""
    return bool(np.allclose(_numbers(column), totals, rtol=ROUNDING, atol=0))


def _numbers(column: pd.Series) -> np.ndarray:
    """(cells,) real numbers, NaN for whatever is none."""
    values = pd.to_numeric(column.astype(object), errors="coerce")
    return np.full(len(column), np.nan) if values.dtype.kind == "c" else values.to_numpy(np.float64)


def _check_names(names: pd.Index, kind: str, name: str) -> None:
    blank = int((names.str.strip() == "").sum())
    if blank:
        raise DataError(f"{name}: {blank:,} {kind} names are empty. Every {kind} needs a name of its own.")
    repeated = names[names.duplicated()].unique()
    if len(repeated):
        axis = "var" if kind == "gene" else "obs"
        shown = ", ".join(map(str, repeated[:3])) + (", …" if len(repeated) > 3 else "")
        raise DataError(
            f"{name}: {len(repeated):,} {kind} names occur more than once ({shown}). "
            f"Make them unique first, for example with adata.{axis}_names_make_unique()"
            + (", or add up the counts of rows that mean the same gene." if kind == "gene" else ".")
        )


def content_hash(adata: AnnData) -> str:
    """sha256 over counts, library sizes, cell and gene names, Ensembl ids, labels and batches.

    The same for the same content, however the file was compressed or chunked; every embedding and
    score is keyed by it.
    """
    digest = hashlib.sha256()
    matrix = adata.X
    digest.update(repr(matrix.shape).encode())
    for array, kind in ((matrix.indptr, "<i8"), (matrix.indices, "<i8"), (matrix.data, "<f4")):
        digest.update(np.ascontiguousarray(array, dtype=kind))
    digest.update(np.ascontiguousarray(adata.obs["library_size"], dtype="<f8"))
    columns = [adata.obs[key] for key in ("cell_type", "batch") if key in adata.obs]
    columns += [adata.var[key] for key in ("ensembl_id",) if key in adata.var]
    for names in (adata.obs_names, adata.var_names, *columns):
        # The length of each name goes in front, so that ["ab", "c"] and ["a", "bc"] differ.
        for text in names.astype(str):
            encoded = text.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()
