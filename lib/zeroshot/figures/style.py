"""What all figures share: an opaque white ground and colour-blind-safe colours."""

import seaborn as sns

DATASET_MARKERS = "oXsDPv^<>*"
TIE_COLOUR = "#949494"


def dataset_marker(datasets: list[str], name: str) -> str:
    """Marker of a data set among those of a figure."""
    return DATASET_MARKERS[datasets.index(name) % len(DATASET_MARKERS)]


def group_colours(n_colours: int) -> list:
    """Colours for groups: colour-blind-safe for up to ten, evenly spaced hues for more."""
    return sns.color_palette("colorblind" if n_colours <= 10 else "husl", n_colours)


def set_style() -> None:
    """Set seaborn's style, whatever the reader's own settings are."""
    sns.set_theme(
        context="notebook", style="whitegrid", rc={"figure.facecolor": "white", "savefig.facecolor": "white"}
    )
