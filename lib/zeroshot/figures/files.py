"""What a figure can be saved as: its vector form, and the table of what it draws."""

import io
import sys
from weakref import WeakKeyDictionary

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Artists with more points are pictures within the vector form, which would be of megabytes otherwise.
MOST_POINTS = 200
DOTS_PER_INCH = 150  # of such pictures
_TABLES: WeakKeyDictionary[Figure, pd.DataFrame] = WeakKeyDictionary()


def drawn(figure: Figure, table: pd.DataFrame) -> Figure:
    """Note the table that a figure draws, one row per thing drawn; return the figure.

    Every ``draw_<what>`` ends with it, so that each figure has the files below it that pages offer.
    """
    show_with_files()
    _TABLES[figure] = table
    for points in figure.findobj(PathCollection):
        points.set_rasterized(len(points.get_offsets()) > MOST_POINTS)
    for line in figure.findobj(Line2D):
        line.set_rasterized(
            line.get_marker() not in ("", "None", None) and len(line.get_xdata()) > MOST_POINTS
        )
    # Laid out once: a page draws it four times, and its layout takes as long as drawing.
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine("none")
    figure.stale = False  # else a kernel draws it once more, for nobody, before it is shown
    return figure


def to_csv(figure: Figure) -> str:
    """The table that a figure draws, in full precision.

    Raises
    ------
    KeyError
        If the figure is none of :mod:`zeroshot.figures`.
    """
    return _TABLES[figure].to_csv(index=False, lineterminator="\n")


def to_svg(figure: Figure) -> str:
    """The vector form of a figure; the same figure gives the same text."""
    file = io.StringIO()
    pictures = figure.findobj(lambda artist: artist.get_rasterized())
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # a date would change with every build
    # Hard edges: few colours, which matplotlib stores in a third of the bytes.
    plt.setp(pictures, antialiased=False)
    with plt.rc_context({"svg.hashsalt": "zeroshot"}):
        figure.savefig(file, format="svg", bbox_inches="tight", dpi=DOTS_PER_INCH, metadata=nothing)
    plt.setp(pictures, antialiased=True)
    return file.getvalue()


def files(figure: Figure) -> dict[str, str]:
    """Both by their MIME type; none for a figure that is not of :mod:`zeroshot.figures`."""
    if figure not in _TABLES:
        return {}
    return {"image/svg+xml": to_svg(figure), "text/csv": to_csv(figure)}


def show_with_files() -> None:
    """In a kernel, put the files of a figure beside its PNG whenever it is shown."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        # Not `_repr_svg_` or its like: the inline backend takes those formatters out when it starts.
        shell.display_formatter.mimebundle_formatter.for_type(Figure, files)
