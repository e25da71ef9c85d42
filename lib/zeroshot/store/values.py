"""Arrays, tables, dicts and AnnData as files of an artifact. Nothing is pickled."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData  # imported when a value is one: a page of tables must not pay for it


def write_value(path: Path, value: "np.ndarray | pd.DataFrame | dict | AnnData") -> None:
    """Write a value to ``path`` with the suffix of its kind; refuse what would not come back the same."""
    if isinstance(value, np.ndarray):
        with Path(f"{path}.npy").open("wb") as file:
            np.save(file, value, allow_pickle=False)
    elif isinstance(value, pd.DataFrame):
        value.to_csv(f"{path}.csv", index=False)
    elif isinstance(value, dict):
        Path(f"{path}.json").write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")
    elif hasattr(value, "write_h5ad"):
        write_cells(Path(f"{path}.h5ad"), value, compression="gzip")
    else:
        raise TypeError(
            f"cannot store {path.name!r} of type {type(value).__name__}: array, table, dict or AnnData"
        )


def write_cells(path: Path, value: "AnnData", compression: str | None = None) -> None:
    """Write an .h5ad file, made in memory: where the disk is full, HDF5 can end the whole process.

    As anndata does, it makes texts that repeat categorical.
    """
    import h5py
    from anndata.io import write_elem

    value.strings_to_categoricals()
    with h5py.File(path, "w", driver="core", backing_store=False, block_size=2**22) as file:
        write_elem(file, "/", value, dataset_kwargs={"compression": compression} if compression else {})
        file.flush()
        path.write_bytes(file.id.get_file_image())


def _read_array(path: Path) -> np.ndarray:
    # Maps the file only, which fails where the header claims more than the file holds.
    np.load(path, allow_pickle=False, mmap_mode="r")
    return np.load(path, allow_pickle=False)


def _read_table(path: Path) -> pd.DataFrame:
    # pandas' default parser is off in the last bit, and reads a cell type called "NA" as missing.
    return pd.read_csv(path, float_precision="round_trip", keep_default_na=False, na_values=[""])


def _read_json(path: Path) -> dict:
    return json.loads(path.read_bytes())


def _read_cells(path: Path) -> "AnnData":
    import anndata

    return anndata.read_h5ad(path)


READERS: dict[str, Callable[[Path], Any]] = {
    ".npy": _read_array, ".csv": _read_table, ".json": _read_json, ".h5ad": _read_cells
}  # fmt: skip
