"""Columns of ``obs``: labels and batches as categories, under one rule for what is missing."""

import unicodedata
from typing import Literal, get_args

import numpy as np
import pandas as pd

from zeroshot import catalog
from zeroshot.data.error import DataError

MissingLabels = Literal["refuse", "drop", "keep"]
# What missing values become when they are written as text: by pandas, numpy, R, JSON and spreadsheets.
MISSING_TEXTS = frozenset({"", "nan", "none", "na", "<na>", "n/a", "#n/a", "null"})
# Of pandas; in capitals it is a sample, of tissue beside a tumour.
MISSING_TIME = "NaT"


def missing_mask(values: pd.Series | np.ndarray | pd.Index) -> np.ndarray:
    """(n,) True where a value is missing, or is a text that missing values become ("NA", "None", …).

    Upper or lower case and spaces around it make no difference. "unknown" and "unassigned" are values.
    """
    values = pd.Series(np.asarray(values, dtype=object))
    texts = values.astype(str).str.strip()
    is_missing = values.isna() | texts.str.casefold().isin(MISSING_TEXTS) | (texts == MISSING_TIME)
    return is_missing.to_numpy(bool)


def categories(
    obs: pd.DataFrame,
    key: str,
    role: Literal["label", "batch"],
    name: str,
    missing_labels: MissingLabels = "refuse",
) -> pd.Categorical:
    """A column as categories in alphabetical order, none unused; code -1 only for cells to leave out.

    Parameters
    ----------
    obs
        One row per cell.
    key
        The column.
    role
        What it holds; also the prefix of the parameter that names it.
    name
        Names the data in messages.
    missing_labels
        What to do with cells without a value, see :func:`missing_mask`: "refuse"; "drop", which leaves
        them without a category for the caller to leave out; or "keep", which takes texts such as "NA" as
        written, for data in which they are a name, and still refuses values that are absent or blank.

    Raises
    ------
    DataError
        If there is no such column, a value is missing, most cells have a value of their own, or all cells
        have the same label.
    """
    if missing_labels not in get_args(MissingLabels):
        raise DataError(
            f"missing_labels is {missing_labels!r}: one of {', '.join(get_args(MissingLabels))} is expected."
        )
    option = _option(role)
    if key not in obs:
        columns = [*map(str, obs.columns)]
        raise DataError(
            f"{name} has no {role} column {key!r}.{catalog.did_you_mean(str(key), columns)} "
            f"Columns: {', '.join(columns) or 'none'}. Name one with {option}."
        )
    values = obs[key].astype(object).to_numpy()
    absent = missing_mask(values)
    if missing_labels == "keep":
        absent &= pd.isna(values) | (pd.Series(values).astype(str).str.strip() == "").to_numpy(bool)
    if absent.all():
        raise DataError(f"{name}: no cell has a value in {role} column {key!r}. Name another with {option}.")
    if absent.any() and missing_labels != "drop":
        raise DataError(_missing(values[absent], len(values), key, role, name, missing_labels))
    texts = texts_of(values[~absent], f"{role} column {key!r}", name)
    column = np.full(len(values), None, dtype=object)
    column[~absent] = texts
    _require_shared(texts, key, role, name)
    if role == "label" and len(set(texts)) < 2:
        raise DataError(
            f"{name}: column {key!r} holds one label only ({texts[0]}), which tells no cells apart. At least "
            f"two labels are expected: choose another column with {option}."
        )
    return pd.Categorical(column, categories=sorted(set(texts)))


def drop_note(keep_mask: np.ndarray, labels: pd.Series | None, name: str) -> str | None:
    """A sentence on the cells that are left out for want of a label or batch; None if all stay.

    Raises
    ------
    DataError
        If no cell is left, or all that are left have the same label.
    """
    dropped = int((~keep_mask).sum())
    if dropped == len(keep_mask):
        raise DataError(f"{name}: no cell has both a label and a batch. Name other columns.")
    if dropped and labels is not None and labels[keep_mask].nunique() < 2:
        raise DataError(
            f"{name}: all cells with a label and a batch have the same label. Name other columns."
        )
    if not dropped:
        return None
    return (
        f"{dropped:,} of {len(keep_mask):,} cells are left out: no label or batch. This is "
        "missing_labels='drop' (command line: --missing-labels drop); 'keep' takes a text such as 'NA' as a "
        "name, 'refuse' stops there."
    )


def notes_on(values: pd.Categorical | pd.Series, key: str) -> list[str]:
    """Sentences on a column of categories whose names may not be meant as such."""
    values = pd.Categorical(values)
    return _texts_for_missing(values, key) + _alike(values, key)


def _texts_for_missing(values: pd.Categorical, key: str) -> list[str]:
    """A sentence on texts such as "NA" that are names, as only ``missing_labels="keep"`` lets them be."""
    sizes = values.value_counts()
    sizes = sizes[missing_mask(sizes.index)]
    if sizes.empty:
        return []
    texts = ", ".join(f"{text!r} {count:,} times" for text, count in sizes.items())
    return [
        f"{sizes.sum():,} of {len(values):,} cells have a text that often stands for a missing value in "
        f"{key!r} ({texts}): it is used as a name. This is missing_labels='keep' (command line: "
        "--missing-labels keep); 'drop' leaves these cells out, 'refuse' stops there."
    ]


def _alike(values: pd.Categorical, key: str) -> list[str]:
    """A sentence on values that differ only in case, spaces, accents' coding or what nobody sees.

    They are taken as they are: "NK" and "nk" may be meant to differ, but often are one cell type.
    """
    spellings: dict[str, list[str]] = {}
    for text in values.categories.astype(str):
        words = unicodedata.normalize("NFKC", text).casefold().split()
        plain = " ".join("".join(filter(str.isprintable, word)) for word in words).strip()
        spellings.setdefault(plain, []).append(text)
    alike = [texts for texts in spellings.values() if len(texts) > 1]
    if not alike:
        return []
    shown = "; ".join(" and ".join(map(ascii, texts)) for texts in alike[:3])
    return [
        f"Values of {key!r} that differ only in case or spaces count as different ones: {shown}"
        f"{', …' if len(alike) > 3 else ''}. If they are the same, give them one name."
    ]


def texts_of(values: np.ndarray | pd.Index, what: str, name: str) -> np.ndarray:
    """(n,) the values as text that can be written to a file again, empty where missing.

    Raises
    ------
    DataError
        If one is no UTF-8, or holds a NUL byte, which HDF5 ends a text at.
    """
    texts = np.array([_text(value) for value in values], dtype=object)
    texts[pd.isna(np.asarray(values, dtype=object))] = ""
    for text in texts:
        if "\0" in text or not (text.isascii() or _is_utf8(text)):
            raise DataError(
                f"{name}: {what} holds {text!r}, which is not UTF-8 or has a NUL byte in it. Rename it."
            )
    return texts


def _text(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _option(role: str) -> str:
    return f"{role}_key=… (command line: --{role}-key)"


def _missing(
    absent: np.ndarray, n_cells: int, key: str, role: str, name: str, missing_labels: MissingLabels
) -> str:
    """The message on cells without a value, with the spellings that stand for none."""
    spellings = pd.Series(
        [repr(value) if isinstance(value, str) else "missing" for value in absent]
    ).value_counts()
    remedy = "Leave them out with missing_labels='drop' (command line: --missing-labels drop), or " + (
        "give them a name; missing_labels='keep' keeps texts only, such as 'NA'"
        if missing_labels == "keep"
        else "if such a text is a name in these data, keep it with missing_labels='keep'"
    )
    return (
        f"{name}: {len(absent):,} of {n_cells:,} cells have no value in {role} column {key!r} "
        f"({', '.join(f'{text} {count:,} times' for text, count in spellings.items())}). {remedy}."
    )


def _require_shared(texts: np.ndarray, key: str, role: str, name: str) -> None:
    """Refuse a column, such as barcodes, in which most cells have a value that no other cell has."""
    sizes = pd.Series(texts).value_counts()
    alone = int((sizes == 1).sum())
    if 2 * alone <= len(texts):
        return
    use = {
        "label": "A label is a name that many cells share, such as a cell type",
        "batch": "Nothing can be corrected or compared where a batch is one cell",
    }[role]
    raise DataError(
        f"{name}: {alone:,} of {len(texts):,} cells have a value of their own in {role} column {key!r}, like "
        f"{sizes.index[-1]!r}: it looks like a name of each cell. {use}: name another column with "
        f"{_option(role)}."
    )
