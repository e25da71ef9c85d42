"""Verdicts on the claims of a paper, by source."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from .files import drawn
from .style import draws
from .text import add_legend, distinct_texts, fit, nothing_to_draw, subplots

# Ground, ink and mark: told apart by lightness and by mark, so that they read in greyscale.
VERDICTS = {
    "holds": ("#a9d1ea", "#000000", "●"),
    "fails": ("#3d2a1a", "#ffffff", "✕"),
    "not testable here": ("#f4f4f4", "#666666", "–"),
}


@draws
def draw_verdicts(ledger: pd.DataFrame) -> Figure:
    """A field per claim and source: ● where it holds, ✕ where it fails, – where it cannot be tested.

    ⇄ stands beside a claim that changed between preprint and publication. Claims that are no predicates are
    left out.

    Parameters
    ----------
    ledger
        Columns claim, source, verdict, numbers and reversal, as :func:`zeroshot.results.claims.ledger`
        returns it.
    """
    table = ledger[ledger["verdict"].isin(list(VERDICTS))]
    if table.empty:
        return drawn(nothing_to_draw("no claim is a predicate"), table)
    sources = list(table["source"].unique())
    every = list(table["claim"].unique())
    n_rows, height = fit(len(every), 0.3, 0.2, 40)
    claims = every[:n_rows]
    reversed_claims = set(table.loc[table["reversal"].ne(""), "claim"])
    figure, axis = subplots(figsize=(4.2 + 0.95 * len(sources), height * n_rows + 1.8))
    for row in table[table["claim"].isin(claims)].itertuples():
        x, y = sources.index(row.source), claims.index(row.claim)
        ground, ink, mark = VERDICTS[row.verdict]
        axis.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=ground, edgecolor="white"))
        axis.text(x, y, mark, ha="center", va="center", color=ink, fontsize=10)
    texts = distinct_texts(claims)
    labels = [
        f"{text} ⇄" if name in reversed_claims else text for text, name in zip(texts, claims, strict=True)
    ]
    axis.set_yticks(range(n_rows), labels, fontsize=9)
    axis.set_xticks(range(len(sources)), distinct_texts(sources, 20), fontsize=9, rotation=30, ha="left")
    axis.xaxis.tick_top()
    axis.set(xlim=(-0.5, len(sources) - 0.5), ylim=(n_rows - 0.5, -0.5))
    axis.grid(False)
    entries = [
        (plt.Rectangle((0, 0), 1, 1, facecolor=ground, edgecolor="#666666"), f"{mark} {verdict}")
        for verdict, (ground, _, mark) in VERDICTS.items()
    ]
    notes = ["⇄ changed between preprint and publication"] if reversed_claims & set(claims) else []
    notes += [f"{len(every) - n_rows} more claims are not shown"] if len(every) > n_rows else []
    add_legend(figure, entries, not_shown=notes, longest=60, loc="outside lower center", ncols=2, fontsize=9)
    return drawn(figure, table)
