"""The files of a model on this machine: in a folder, in a package, in a cache, or downloaded."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from zeroshot.catalog import ModelCard, WeightsSource
from zeroshot.models.weights import fetch
from zeroshot.models.weights.error import WeightsError
from zeroshot.models.weights.files import require_small, sha256
from zeroshot.runtime import paths

# What a file is for, and how it is called in released folders; of several, the first is taken.
ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "config": ("config.json", "args.json", "*.config.json"),
        "weights": ("model.safetensors", "pytorch_model.bin", "best_model.pt", "*.best.ckpt"),
        "projection": ("cell_proj.bin",),
        "token_dictionary": ("token_dictionary*.pkl", "token_dictionary*.json"),
        "gene_medians": ("gene_median_dictionary*.pkl", "gene_median_dictionary*.json"),
        "gene_names": ("gene_name_id_dict*.pkl", "gene_name_id_dict*.json"),
        "ensembl_mapping": ("ensembl_mapping_dict*.pkl", "ensembl_mapping_dict*.json"),
        "assays": ("assay_vocab.json",),
        "vocabulary": ("vocab.json", "vocab.txt", "tokenizer.json", "gene_list.txt", "*.config.json"),
        "dissociated_means": ("dissociated_mean*.npy",),
        "merfish_means": ("merfish_mean*.npy",),
        "cosmx_means": ("cosmx_mean*.npy",),
        "xenium_means": ("xenium_mean*.npy",),
        "iss_means": ("iss_mean*.npy",),
        "gene_positions": ("species_chrom.csv",),
        "species_offsets": ("species_offsets.pkl", "species_offsets.json"),
    }
)
# Roles that belong together: numbers of one vocabulary mean nothing in another.
DICTIONARIES = frozenset(ROLES) - {"config", "weights", "projection"}
_NUMBERING = ("token_dictionary", "vocabulary")
_MOST_FILES = 20_000  # in a folder that is searched for those of one model
# A folder with its own dictionaries may lack these: names, and means and assays that nobody asks for.
_OPTIONAL = (
    "gene_names", "ensembl_mapping", "dissociated_means", "merfish_means", "cosmx_means", "xenium_means",
    "iss_means", "assays",
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """Files of a model on this machine.

    Attributes
    ----------
    files
        Path by role: "config", "weights", "vocabulary", …; see ``ROLES``.
    hashes
        sha256 by role.
    origin
        Where they come from, in words: "folder …", "hub repository@revision", "package …", ….
    """

    files: Mapping[str, Path]
    hashes: Mapping[str, str]
    origin: str


@dataclass(frozen=True)
class ListedFile:
    """One file of a model's card, without having fetched it.

    Attributes
    ----------
    path
        In the place it comes from.
    size
        In bytes; None where the card does not state it.
    sha256
        That the card states; None where the hub's, else that of the first download counts.
    is_here
        Whether it is on this machine, and what the card describes.
    """

    path: str
    size: int | None
    sha256: str | None
    is_here: bool


def listed(card: ModelCard) -> list[ListedFile]:
    """The files of a model's card, and which of them are on this machine. Uses no network.

    A file of two roles, as CellPLM's config with its list of genes, is listed once.

    Raises
    ------
    WeightsError
        If the card names no weights.
    """
    by_path = {file.path: (role, file) for role, file in _source(card).files.items()}
    return [
        ListedFile(path, file.size, file.sha256, at_hand(card, [role]) is None)
        for path, (role, file) in by_path.items()
    ]


def find(
    card: ModelCard,
    folder: Path | None = None,
    *,
    download: bool = True,
    roles: Collection[str] | None = None,
) -> Checkpoint:
    """Files of a model, looked for here first and downloaded if need be.

    The order is: ``folder``; the model's folder in ``ZEROSHOT_WEIGHTS``; the installed package that
    the card names; what was downloaded before; the card's hub repository, Drive folder or addresses.
    A folder without a vocabulary of its own gets all dictionaries from the card's source, unless the card
    names no vocabulary: such weights hold theirs.

    Parameters
    ----------
    card
        Card of a model that has ``weights``.
    folder
        Folder in the released layout. Its files may differ from those of the card: their hashes are
        recorded, not compared.
    download
        False to use no network.
    roles
        Only these of the card's files, for example ``DICTIONARIES``; None for all.

    Raises
    ------
    WeightsError
        If the card names no weights, a file cannot be had or is not the one the card describes, or
        the folder lacks a file or holds several that could be meant.
    """
    wanted = [role for role in _source(card).files if roles is None or role in roles]
    folder = folder or _own_folder(card)
    files: dict[str, Path] = {}
    origins = []
    if folder is not None:
        try:
            folder = Path(folder).expanduser()
        except RuntimeError as error:
            raise WeightsError(f"{folder} is not a folder: {error} Give its full path.") from None
        files = _in_folder(card, folder, wanted)
        for role in files.keys() & (DICTIONARIES | {"config"}):
            require_small(files[role], f"the {role} of {card.name}")  # before it is hashed
        origins.append(f"folder {folder}")
        if _is_numbered(card, files):
            wanted = [role for role in wanted if role not in DICTIONARIES]
    rest = [role for role in wanted if role not in files]
    if rest:
        fetched, origin = fetch.files(card, rest, download=download)
        files |= fetched
        origins.append(f"dictionaries from {origin}" if origins else origin)
    return Checkpoint(
        MappingProxyType(files),
        MappingProxyType({role: sha256(path) for role, path in files.items()}),
        "; ".join(origins),
    )


def at_hand(card: ModelCard, roles: Collection[str] | None = None) -> str | None:
    """Why the files of a model are not on this machine, None if they are. Uses no network."""
    if card.weights is None:
        return None
    try:
        find(card, download=False, roles=roles)
    except WeightsError as error:
        return str(error)
    return None


def _source(card: ModelCard) -> WeightsSource:
    if card.weights is None:
        raise WeightsError(f"{card.name} has no released weights: its card in data/models.yml names none")
    return card.weights


def _own_folder(card: ModelCard) -> Path | None:
    """The model's folder in ``ZEROSHOT_WEIGHTS``, if there is one."""
    root = paths.local_weights()
    if root is None:
        return None
    if not root.is_dir():
        raise WeightsError(f"ZEROSHOT_WEIGHTS names {root}, which is not a folder. Correct it or unset it.")
    folder = root / card.name
    return folder if folder.is_dir() else None


def _in_folder(card: ModelCard, folder: Path, wanted: list[str]) -> dict[str, Path]:
    """Files of a local folder by role; without any dictionary if it has no vocabulary of its own.

    Raises
    ------
    WeightsError
        If the folder lacks config or weights, or a dictionary that belongs to the ones it has.
    """
    if not folder.is_dir():
        raise WeightsError(
            f"{folder} is not a folder. Name the one that holds the released files of {card.name}."
        )
    try:
        paths_inside = list(islice(folder.rglob("*"), _MOST_FILES + 1))
        held = sorted(path for path in paths_inside if path.is_file())
        next(folder.iterdir(), None)  # raises where the folder itself cannot be read
    except OSError as error:
        raise WeightsError(
            f"{folder} cannot be read: {error.strerror}. Make it readable, or name another folder."
        ) from None
    if len(paths_inside) > _MOST_FILES:
        raise WeightsError(
            f"{folder} holds more than {_MOST_FILES:,} files. Name the folder that holds the released files "
            f"of {card.name}."
        )
    weights = _pick(card, folder, held, "weights", None) if "weights" in wanted else None
    files = {}
    for role in wanted:
        path = weights if role == "weights" else _pick(card, folder, held, role, weights)
        if path is not None:
            files[role] = path
    needed = {role for role in wanted if role not in DICTIONARIES}
    if _is_numbered(card, files):
        needed |= set(wanted) - set(_OPTIONAL)
    else:
        files = {role: path for role, path in files.items() if role not in DICTIONARIES}
    absent = [role for role in wanted if role in needed and role not in files]
    if absent:
        looked_for = "; ".join(f"{role}: {' or '.join(_names(card, role))}" for role in absent)
        names = [str(path.relative_to(folder)) for path in held]
        listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise WeightsError(
            f"{folder} lacks files of {card.name}. Looked for {looked_for}. It holds {listed or 'nothing'}."
        )
    return files


def _is_numbered(card: ModelCard, files: Mapping[str, Path]) -> bool:
    """Whether a folder has the vocabulary of its model, or its weights have it in them."""
    return any(role in files for role in _NUMBERING) or not set(_NUMBERING) & set(card.weights.files)


def _pick(card: ModelCard, folder: Path, held: list[Path], role: str, weights: Path | None) -> Path | None:
    """The file of a role; several in the first place that has one are an error."""
    for place in _places(card, folder, held, role, weights):
        for name in _names(card, role):
            found = [path for path in place if path.match(name)]
            if len(found) > 1:
                raise WeightsError(
                    f"{folder} holds several files that could be the {role} of {card.name}: "
                    f"{', '.join(str(path.relative_to(folder)) for path in found)}. Name a folder with one."
                )
            if found:
                return found[0]
    return None


def _places(
    card: ModelCard, folder: Path, held: list[Path], role: str, weights: Path | None
) -> Iterator[list[Path]]:
    """Where to look for a role: where the card has it, beside the weights, at the top, anywhere."""
    released = folder / card.weights.files[role].path
    beside = [path for path in held if weights is not None and path.parent == weights.parent]
    if role == "config":
        yield beside  # before all: another config describes another model
    if role == "weights":
        yield [path for path in held if path.parent == released.parent]
    else:
        yield [path for path in held if path == released]
    yield beside
    yield [path for path in held if path.parent == folder]
    yield held


def _names(card: ModelCard, role: str) -> tuple[str, ...]:
    """Patterns of a role's file names, the card's own first; but safetensors before the same as a pickle."""
    own = PurePosixPath(card.weights.files[role].path).name
    known = ROLES.get(role, ())
    return known if own == "pytorch_model.bin" else tuple(dict.fromkeys([own, *known]))
