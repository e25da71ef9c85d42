"""The data contract: what every model and metric may rely on, and the errors for what breaks it.

The contract (DESIGN.md section 4): ``X`` holds raw counts as CSR float32 with sorted indices and no
stored zeros; ``obs`` has categorical ``cell_type`` and ``batch`` and float64 ``library_size``; cell and
gene names are unique.
"""

import difflib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from zeroshot.data.error import DataError

# float32 holds every integer up to here; a larger count would be changed by the conversion.
LARGEST_COUNT = 2**24
# log1p of any real count is below 20; non-integers that all lie below are taken for logarithms.
LARGEST_LOGARITHM = 20
# Columns of `var` under which cellxgene, scanpy and Tabula Sapiens keep Ensembl gene ids.
ENSEMBL_COLUMNS = ("ensembl_id", "ensemblid", "gene_ids", "gene_id", "feature_id")


def contract(
    adata: AnnData,
    *,
    name: str,
    label_key: str | None = "cell_type",
    batch_key: str | None = None,
    other_counts: Callable[[], list[str]] = list,
    as_given: bool = False,
) -> AnnData:
    """A new AnnData that keeps the contract, made from one that may not.

    Parameters
    ----------
    adata
        Raw counts in ``X`` (cells, genes), sparse or dense; never changed.
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

    Raises
    ------
    DataError
        For anything the contract rules out.
    """
    if 0 in adata.shape:
        raise DataError(
            f"{name} is empty: {adata.n_obs} cells x {adata.n_vars} genes. Give it cells and genes."
        )
    _check_names(adata.var_names, "gene", name)
    _check_names(adata.obs_names, "cell", name)
    obs = adata.obs.copy()
    if label_key is not None:
        obs["cell_type"] = categories(adata.obs, label_key, "label", name)
        held = obs["cell_type"].cat.categories
        if len(held) < 2:
            raise DataError(
                f"{name}: column {label_key!r} holds one label only ({held[0]}). Scores compare cell types, "
                "so at least two are needed: choose another column with label_key=…"
            )
    if batch_key is None:
        obs["batch"] = pd.Categorical([name] * adata.n_obs)
    else:
        obs["batch"] = categories(adata.obs, batch_key, "batch", name)
    matrix = counts(adata.X, name, other_counts, as_given=as_given)
    totals = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
    empty = int((totals == 0).sum())
    if empty:
        raise DataError(
            f"{name}: {empty:,} of {adata.n_obs:,} cells have no counts at all. Every model divides by a "
            "cell's total: remove them, for example with scanpy.pp.filter_cells(adata, min_counts=1)."
        )
    if as_given or "library_size" not in obs:
        obs["library_size"] = totals
    obs["library_size"] = obs["library_size"].astype(np.float64)
    # A file may hold the sums in float32: allow for its rounding.
    if not (np.isfinite(obs["library_size"]) & (obs["library_size"] >= totals * (1 - 1e-6))).all():
        raise DataError(
            f"{name}: obs['library_size'] must be the counts of each cell over all genes, but is below the "
            "row sum or missing for some. Correct or remove the column."
        )
    for key in obs.columns[obs.dtypes == "category"]:
        obs[key] = obs[key].cat.remove_unused_categories()
    obs.index = pd.Index(adata.obs_names.astype(str))
    return AnnData(matrix, obs, _genes(adata.var))


def counts(
    values: Any, name: str, other_counts: Callable[[], list[str]] = list, *, as_given: bool = False
) -> sparse.csr_matrix:
    """Raw counts as CSR float32, exact, indices sorted, no stored zeros.

    Raises
    ------
    DataError
        If a value is not finite, negative, or (unless ``as_given``) not an integer or too large for float32.
    """
    matrix = sparse.csr_matrix(values, copy=sparse.issparse(values))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    problem = _problem(matrix.data, as_given=as_given)
    if problem and as_given:
        raise DataError(f"{name}: {problem} Finite, non-negative values are expected: name another matrix.")
    if problem:
        places = other_counts()
        remedy = (
            f"Integers were found in {' and '.join(places)}: pass counts={places[0]!r}."
            if places
            else "Pass counts=… to name the layer that holds them, or store raw counts in layers['counts']."
        )
        raise DataError(f"{name}: {problem} Raw counts (non-negative integers) are expected. {remedy}")
    return matrix.astype(np.float32)


def _problem(data: np.ndarray, *, as_given: bool) -> str | None:
    """What keeps these values from being counts, or any amounts at all, as a sentence, or None."""
    if not data.size:
        return "all values are zero."
    if not np.issubdtype(data.dtype, np.number) or np.issubdtype(data.dtype, np.complexfloating):
        return f"values are of type {data.dtype}."
    bad = ~np.isfinite(data)
    if bad.any():
        nan = int(np.isnan(data).sum())
        return f"{nan:,} values are NaN and {int(bad.sum()) - nan:,} infinite."
    smallest, largest = data.min(), data.max()
    if smallest < 0:
        return f"values are negative (smallest {smallest:g}), so they look scaled or centred."
    if as_given:
        return None
    broken = data != np.rint(data)
    if broken.any():
        example = data[np.argmax(broken)]
        share = (
            f"{int(broken.sum()):,} of {data.size:,} non-zero values are not integers (such as {example:g})"
        )
        if largest < LARGEST_LOGARITHM:
            return f"{share} and none exceeds {largest:.2f}, so the matrix looks log-normalised."
        return f"{share}, so the matrix looks normalised or corrected."
    if largest > LARGEST_COUNT:
        return (
            f"the largest value, {largest:g}, is beyond the integers that float32 holds ({LARGEST_COUNT:,})."
        )
    return None


def _check_names(names: pd.Index, kind: str, name: str) -> None:
    text = pd.Series(names.astype(str), dtype=str).str.strip()
    blank = int((text.eq("") | text.eq("nan") | pd.isna(np.asarray(names, dtype=object))).sum())
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


def categories(obs: pd.DataFrame, key: str, role: str, name: str) -> pd.Categorical:
    """A column as categories in alphabetical order, none missing, none unused."""
    if key not in obs:
        near = difflib.get_close_matches(key, map(str, obs.columns), n=2, cutoff=0.5)
        raise DataError(
            f"{name} has no {role} column {key!r}."
            + (f" Did you mean {' or '.join(near)}?" if near else "")
            + f" Columns: {', '.join(map(str, obs.columns)) or 'none'}. Name one with {role}_key=…"
        )
    values = obs[key].astype(object)
    missing = int((values.isna() | values.astype(str).str.strip().isin(["", "nan"])).sum())
    if missing:
        raise DataError(
            f"{name}: {missing:,} of {len(values):,} cells have no value in {role} column {key!r}. "
            "Remove those cells or give them a name of their own."
        )
    return pd.Categorical(values.astype(str).to_numpy())


def _genes(var: pd.DataFrame) -> pd.DataFrame:
    """Gene names as index, Ensembl ids without version where the source gives them."""
    genes = pd.DataFrame(index=pd.Index(var.index.astype(str)))
    candidates = [var[key] for key in ENSEMBL_COLUMNS if key in var] + [pd.Series(var.index, index=var.index)]
    for column in candidates:
        ids = column.astype(str)
        if ids.str.startswith("ENS").mean() > 0.5:
            genes["ensembl_id"] = ids.str.replace(r"\.\d+$", "", regex=True).to_numpy(str)
            break
    return genes


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


# -- files ------------------------------------------------------------------------------------------


def read_h5ad_parts(path: Path, counts_at: str | None = None) -> AnnData:
    """Counts, ``obs`` and ``var`` of an .h5ad file; nothing else is read, the file is not changed.

    Parameters
    ----------
    path
        The file.
    counts_at
        "X", "layers/<name>", the name of a layer, or "raw"; None takes ``layers/counts`` if there is
        one, else ``X``.

    Raises
    ------
    DataError
        If the file is missing, truncated, not HDF5, not AnnData, or has nothing at ``counts_at``.
    """
    import h5py
    from anndata.io import read_elem

    with open_h5ad(path) as file:
        at = counts_at or ("layers/counts" if "layers/counts" in file else "X")
        at = "raw/X" if at == "raw" else f"layers/{at}" if f"layers/{at}" in file else at
        missing = [part for part in ("obs", "var", at) if part not in file]
        if missing:
            held = ", ".join(_matrices(file)) or "no matrix"
            raise DataError(
                f"{path} has no {' and no '.join(missing)}. It holds {held}: choose with counts=…"
            )
        if isinstance(file["obs"], h5py.Dataset):
            raise DataError(
                f"{path} was written by an anndata older than 0.7. Rewrite it once with "
                "anndata.read_h5ad(path).write_h5ad(new_path) and pass the new file."
            )
        try:
            var = read_elem(file["raw/var" if at == "raw/X" else "var"])
            return AnnData(read_elem(file[at]), read_elem(file["obs"]), var)
        except Exception as error:  # whatever h5py, anndata or a decoder trips over in a broken file
            raise DataError(f"{path} cannot be read ({error}). Download or write it again.") from error


def places_with_integers(path: Path) -> list[str]:
    """Matrices of an .h5ad file that hold non-negative integers, as ``counts`` names them."""
    import h5py

    with open_h5ad(path) as file:
        found = []
        for place in _matrices(file):
            node = file["raw/X" if place == "raw" else place]
            data = node if isinstance(node, h5py.Dataset) else node["data"]
            if _problem(np.ravel(data[:]), as_given=False) is None:
                found.append(place)
        return found


def open_h5ad(path: Path) -> Any:
    """The file opened for reading, as ``h5py.File``.

    Raises
    ------
    DataError
        If it is missing, not HDF5, or truncated.
    """
    import h5py

    if not path.is_file():
        raise DataError(f"there is no file {path}.")
    if not h5py.is_hdf5(path):
        raise DataError(f"{path} is not an HDF5 file, so it is no .h5ad. Download or write it again.")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(
            f"{path} cannot be opened ({error}); it is likely truncated. Copy it again."
        ) from error


def _matrices(file: Any) -> list[str]:
    return (
        [place for place in ("X",) if place in file]
        + [f"layers/{layer}" for layer in file.get("layers", ())]
        + (["raw"] if "raw/X" in file else [])
    )
