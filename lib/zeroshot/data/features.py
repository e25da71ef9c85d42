"""Rows of ``var``: which of them are genes, what they are named, and their Ensembl ids."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from zeroshot.data.columns import missing_mask, texts_of
from zeroshot.data.error import DataError
from zeroshot.tokens.genes import ensembl_id, is_identifier

# Columns of `var` under which cellxgene, scanpy and Tabula Sapiens keep Ensembl gene ids.
ENSEMBL_COLUMNS = ("ensembl_id", "ensemblid", "gene_ids", "gene_id", "feature_id")
# Columns of `var` that hold symbols where the genes are named by their ids, as in CELLxGENE.
SYMBOL_COLUMNS = (
    "feature_name",
    "gene_symbols",
    "gene_symbol",
    "gene_names",
    "gene_name",
    "symbol",
    "hgnc_symbol",
)
# Columns of `var` that say what was measured: of Cell Ranger and scanpy, CELLxGENE and mudata.
KIND_COLUMNS = ("feature_types", "feature_type", "feature_biotype", "modality")
# Names that antibodies and hashtags are given by their makers and by common pipelines.
ANTIBODY_NAMES = re.compile(
    r"total[-_ ]?seq|^(?:adt|hto|prot)[-_:]|[-_](?:adt|hto|prot|protein)$|hashtag", re.I
)
# Usual names of antibodies that no gene has or had; a panel has several of them.
PANEL_NAMES = re.compile(
    r"CD(3|8a|10|11[abc]|16|2[1359]|3[125]|4[13]|42b|45R[AO]?|49[abdf]|5[46]|61|62[LP]|64|66b|7[13]|85j|95"
    r"|10[356]|11[579]|12[23467]|13[478]|140a|14[146]|15[0258]|161|169|171|172a|18[345]|19[24567]|223|235ab"
    r"|26[78]|27[02389]|30[34]|314|319|328|33[57]|357|366|370)|HLA-DR|Ig(D|M|G1|G2[ab])|PD-L?1|TCR(ab|gd)"
)
FEWEST_OF_PANEL = 3
# Beside one of these, everything else is no gene expression.
EXPRESSION = frozenset({"gene expression", "gex", "rna", "expression", "transcriptome"})
# Beside biotypes such as "protein_coding", only what is known to be no gene falls out.
NO_GENES = re.compile(
    r"antibod|\b(?:adt|hto|prot|atac|custom|ercc|tcr|bcr)\b|\bproteins?\b(?! coding)|crispr|\bguide|peak"
    r"|\b(?:sg ?|g)rnas?\b|chromatin|multiplex|hashtag|hashing|antigen|spike|synthetic|surface|barcode"
)


def gene_mask(var: pd.DataFrame, name: str) -> tuple[np.ndarray, list[str]]:
    """(features,) True for genes, False for antibodies, peaks, guides, hashtags and spike-ins; and notes.

    Raises
    ------
    DataError
        If no gene is left.
    """
    mask, notes = np.ones(len(var), bool), []
    for column in (column for column in var if _plain(column).replace(" ", "_") in KIND_COLUMNS):
        kinds = pd.Series(var[column].astype(object).to_numpy())
        unknown = missing_mask(kinds)
        plain = kinds.map(_plain)
        is_expression = plain.isin(EXPRESSION).to_numpy()
        other = ~is_expression if is_expression.any() else plain.str.contains(NO_GENES).to_numpy(bool)
        other &= ~unknown
        if other.any():
            counts = kinds[other].astype(str).str.strip().value_counts()
            named = ", ".join(f"{count:,} {kind!r}" for kind, count in counts.items())
            notes.append(
                f"Only gene expression is used: {int(other.sum()):,} of {len(var):,} features are left out, "
                f"also of the library size ({named} in var[{column!r}])."
            )
            if unknown.any():
                notes.append(
                    f"{int(unknown.sum()):,} features without a value in var[{column!r}] are taken for genes."
                )
        elif column == "feature_types" and not (is_expression | unknown).all():
            others = ", ".join(map(repr, kinds[~is_expression & ~unknown].astype(str).unique()[:3]))
            notes.append(f"All features are taken for genes; var[{column!r}] calls them {others}.")
        mask &= ~other
    if not mask.any():
        raise DataError(
            f"{name} holds no gene expression. {' '.join(notes)} Give a file with counts of genes."
        )
    features = [str(name) for name in var.index[mask]]
    panel = [name for name in features if PANEL_NAMES.fullmatch(name)]
    names = [name for name in features if ANTIBODY_NAMES.search(name)]
    names += panel if len(panel) >= FEWEST_OF_PANEL else []
    if names:
        notes.append(
            f"{len(names):,} features are named like antibodies or hashtags ({', '.join(names[:3])}"
            f"{', …' if len(names) > 3 else ''}) and are taken for genes, because var does not say what they "
            "are. If they are none, say so in var['feature_types'], or leave them out."
        )
    return mask, notes


def _plain(text: object) -> str:
    """A kind of feature, or the name of a column, without what its writers differ in."""
    return re.sub(r"[\s._-]+", " ", str(text).strip().casefold())


def gene_table(var: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[str]]:
    """Names of the genes as index and, where the source gives any, ``ensembl_id`` without version; and notes.

    Genes that are named by their ids or by numbers get their symbols, if there is a column of them.
    Where the id of a gene is unknown, ``ensembl_id`` is empty, and models that read ids look its symbol up.
    """
    names = texts_of(var.index, "the names of genes", name)
    ids, notes = _ensembl_ids(var, names)
    symbols, more = _symbols(var, names, ids)
    genes = pd.DataFrame(index=pd.Index(names if symbols is None else symbols, dtype=object))
    if ids is not None:
        genes["ensembl_id"] = ids.astype(str)
    return genes, notes + more


def _ensembl_ids(var: pd.DataFrame, names: np.ndarray) -> tuple[np.ndarray | None, list[str]]:
    """(genes,) ids without version, empty where unknown; None if the source has none. And notes."""
    columns = {column: _ids(var[column].astype(object)) for column in ENSEMBL_COLUMNS if column in var}
    best = max(columns, key=lambda column: (columns[column] != "").sum(), default=None)
    if best is not None and (columns[best] != "").any():
        ids = np.where(columns[best] == "", _ids(names), columns[best])
        unknown = int((ids == "").sum())
        note = (
            f"{unknown:,} of {len(ids):,} genes have no Ensembl id in var[{best!r}]: they go by their names."
        )
        return ids, [note] if unknown else []
    ids = _ids(names)
    return (ids, []) if (ids != "").mean() > 0.5 else (None, [])


def _ids(texts: Iterable[object]) -> np.ndarray:
    return np.array([ensembl_id(text) for text in texts], dtype=object)


def _symbols(
    var: pd.DataFrame, names: np.ndarray, ids: np.ndarray | None
) -> tuple[np.ndarray | None, list[str]]:
    """(genes,) a symbol for each gene that is named by an id or a number; None where names are symbols."""
    nameless = np.array([is_identifier(value) for value in names])
    if nameless.mean() <= 0.5:
        return None, []
    for column in (column for column in SYMBOL_COLUMNS if column in var):
        values = var[column].astype(object).to_numpy()
        symbols = np.where(missing_mask(values), "", [str(value).strip() for value in values])
        usable = np.array([bool(symbol) and not ensembl_id(symbol) for symbol in symbols])
        if usable.mean() > 0.5:
            break
    else:
        return None, []
    taken, new_names = set(), []
    fallback = np.full(len(names), "", object) if ids is None else ids
    for symbol, is_usable, name, gene_id in zip(symbols, usable, names, fallback, strict=True):
        wanted = [symbol] * bool(is_usable) + ([gene_id] if name.strip().isdecimal() else [])
        new_names.append(next((text for text in wanted if text and text not in taken), name))
        taken.add(new_names[-1])
    n_ids = int(sum(text != symbol for text, symbol in zip(new_names, symbols, strict=True)))
    note = f"Genes are named by the symbols in var[{column!r}]"
    note += f"; {n_ids:,} without one, or with that of another gene, keep their id." if n_ids else "."
    return np.array(new_names, dtype=object), [note]
