"""The order of a model's genes, from the file in which it was released."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from zeroshot.models.weights.error import WeightsError
from zeroshot.models.weights.files import REMEDY, foreign_kind, head_of, read_bytes

if TYPE_CHECKING:
    import h5py

EXPECTED = (
    "a list of genes: .txt with one a line, .tsv or .csv with a column gene_name, .h5ad, .h5 with keys, or "
    ".pt by gene"
)
_MOST_GENES = 2**20


def read_genes(path: Path, *, heading: bool = True) -> list[str]:
    """Names of a model's genes in the order of its embedding.

    Parameters
    ----------
    path
        ``.txt`` with one name a line, ``.tsv`` or ``.csv`` with a column ``gene_name``, ``.h5ad`` (the names
        of its variables), ``.h5`` with the names as ``keys``, or ``.pt`` with something for each gene by its
        name.
    heading
        False for a model whose ``.tsv`` has no heading but one name a line.

    Raises
    ------
    WeightsError
        If the file is damaged, or its names are none, empty or not unique.
    """
    kinds = {
        ".txt": _of_lines, ".tsv": _of_table, ".csv": _of_table, ".h5ad": _of_h5ad, ".h5": _of_keys,
        ".pt": _of_torch,
    }  # fmt: skip
    if path.suffix not in kinds:
        raise WeightsError(f"{path} is refused: expected {EXPECTED}. {REMEDY}")
    if not heading:
        kinds |= {".tsv": _of_lines}
    genes = kinds[path.suffix](path)
    if not genes or len(genes) > _MOST_GENES or not all(map(_is_name, genes)):
        raise WeightsError(f"{path} does not hold the names of genes; expected {EXPECTED}. {REMEDY}")
    if len(set(genes)) < len(genes):
        raise WeightsError(f"{path} names a gene twice: its order would be ambiguous. {REMEDY}")
    return genes


def write_genes(path: Path, genes: Iterable[str]) -> None:
    """Write names of genes one a line, as :func:`read_genes` reads a ``.txt``.

    Raises
    ------
    WeightsError
        If a name is empty, or has white space in it.
    """
    names = [str(gene) for gene in genes]
    unreadable = [name for name in names if name.split() != [name] or not _is_name(name)]
    if unreadable:
        raise WeightsError(
            f"{path} was not written: {unreadable[0][:60]!r} cannot be a line of a list of genes. Rename the "
            "gene, or leave it out."
        )
    path.write_text("\n".join(names) + "\n")


def _is_name(gene: object) -> bool:
    return type(gene) is str and bool(gene) and gene.isprintable()


def _of_lines(path: Path) -> list[str]:
    return _text(path).split()


def _of_table(path: Path) -> list[str]:
    separator = "\t" if path.suffix == ".tsv" else ","
    head, *lines = _text(path).splitlines() or [""]
    columns = head.split(separator)
    if "gene_name" not in columns:
        raise WeightsError(f"{path} has no column gene_name; expected {EXPECTED}. {REMEDY}")
    place = columns.index("gene_name")
    rows = [line.split(separator) for line in lines if line]
    if any(len(row) != len(columns) for row in rows):
        raise WeightsError(f"{path} has rows of different length; expected {EXPECTED}. {REMEDY}")
    return [row[place] for row in rows]


def _text(path: Path) -> str:
    content = read_bytes(path, EXPECTED)
    if kind := foreign_kind(content):
        raise WeightsError(f"{path} is {kind}; expected {EXPECTED}. {REMEDY}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WeightsError(f"{path} is not text; expected {EXPECTED}. {REMEDY}") from None


def _of_h5ad(path: Path) -> list[str]:
    return _of_hdf5(path, lambda file: file["var"][file["var"].attrs["_index"]])


def _of_keys(path: Path) -> list[str]:
    return _of_hdf5(path, lambda file: file["keys"])


def _of_hdf5(path: Path, pick: "Callable[[h5py.File], h5py.Dataset]") -> list[str]:
    import h5py

    head_of(path, EXPECTED)
    try:
        with h5py.File(path, "r") as file:
            index = pick(file)
            if index.ndim != 1 or len(index) > _MOST_GENES:
                raise ValueError(f"its names are of shape {index.shape}")
            return [str(name) for name in index.asstr()[:]]
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{path} is damaged, or no {path.suffix} file: {str(error)[:200]}. Expected {EXPECTED}. {REMEDY}"
        ) from None


def _of_torch(path: Path) -> list[str]:
    from zeroshot.models.weights.state import read_content

    content = read_content(path)
    return list(content) if isinstance(content, dict) else []
