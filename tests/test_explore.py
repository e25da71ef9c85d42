"""UMAPs to point at: what the page holds is what was computed, small enough, and safe to put into HTML."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.colors import to_hex

from zeroshot import figures
from zeroshot.figures import explore

STATIC = Path(__file__).resolve().parents[1] / "book" / "_static"


def obs(cells=300, types=("B", "T", "NK"), seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "cell_type": pd.Categorical(rng.choice(types, cells)),
            "batch": pd.Categorical(rng.choice(["b1", "b2"], cells)),
            "library_size": rng.lognormal(7, 1, cells),
        }
    )


def points(cells=300, seed=0):
    return np.random.default_rng(seed).normal(size=(cells, 2)).astype(np.float32)


def read(explorer):
    """The record as a browser reads it: the text of the script element."""
    page = BeautifulSoup(explorer._repr_html_(), "html.parser")
    (script,) = page.select('div.umap-explorer > script[type="application/json"]')
    return json.loads(script.string)


def words(text):
    return np.frombuffer(base64.b64decode(text), "<u2").astype(int)


def shown(part):
    """Coordinates of each method as parts of their range, types, batches and depths of the cells shown."""
    coordinates = [words(text).reshape(-1, 2) / explore.LEVELS for text in part["coordinates"]]
    labels = [np.array(group["labels"])[words(group["codes"])] for group in part["groups"]]
    low, high = part["depth"]["low"], part["depth"]["high"]
    depth = np.expm1(low + (high - low) * words(part["depth"]["codes"]) / explore.LEVELS)
    return coordinates, *labels, depth


def test_every_cell_is_itself_in_all_panels():
    table, one, two = obs(), points(seed=1), points(seed=2)
    (part,) = read(figures.explore_umaps({"toy": {"PCA": one, "scVI": two}}, {"toy": table}))["sets"]
    assert (part["title"], part["methods"], part["shown"], part["cells"]) == (
        "toy",
        ["PCA", "scVI"],
        300,
        300,
    )
    (first, second), types, batches, depth = shown(part)
    spans = [values.max(axis=0) - values.min(axis=0) for values in (one, two)]
    for found, values, span in zip((first, second), (one, two), spans, strict=True):
        restored = found * span + values.min(axis=0)
        # Half a step of quantisation, and the rounding of 32-bit numbers.
        tolerance = span / explore.LEVELS * 0.51
        matches = (np.abs(restored[:, None] - values[None]) <= tolerance).all(axis=2)
        rows = matches.argmax(axis=1)
        assert matches.any(axis=1).all() and sorted(rows) == list(range(300))
        assert list(types) == list(table["cell_type"].iloc[rows])
        assert list(batches) == list(table["batch"].iloc[rows])
        assert depth == pytest.approx(table["library_size"].to_numpy()[rows], rel=1e-3)
    assert list(rows) != sorted(rows), "no batch lies on top because of its place in the file"


def test_colours_are_those_of_the_picture_whatever_is_shown():
    table = obs()
    table["cell_type"] = table["cell_type"].cat.add_categories("nowhere")
    (part,) = read(figures.explore_umaps({"toy": {"PCA": points()}}, {"toy": table}, budget=2_500))["sets"]
    drawn = figures.draw_umap(points(), table, "toy").axes[0].get_legend()
    legend = {
        text.get_text(): to_hex(handle.get_color())
        for text, handle in zip(drawn.get_texts(), drawn.legend_handles, strict=True)
    }
    types = part["groups"][0]
    assert dict(zip(types["labels"], types["colours"], strict=True)) == legend
    assert types["cells"] == list(table["cell_type"].value_counts(sort=False)[types["labels"]])
    assert part["shown"] < part["cells"] == 300


def test_rare_types_are_shown_and_the_draw_is_repeatable():
    table = obs(50_000, seed=3)
    table["cell_type"] = table["cell_type"].cat.add_categories(["rare", "single"])
    table.loc[:39, "cell_type"] = "rare"
    table.loc[40, "cell_type"] = "single"
    given = {"toy": {"PCA": points(50_000)}}, {"toy": table}
    explorer = figures.explore_umaps(*given, budget=30_000)
    (part,) = read(explorer)["sets"]
    types = pd.Series(shown(part)[1]).value_counts()
    assert types["rare"] == explore.CELLS_PER_TYPE and types["single"] == 1
    share = table["cell_type"].value_counts()[["B", "T", "NK"]] / 50_000
    assert (types[["B", "T", "NK"]] / types.sum()).to_numpy() == pytest.approx(share.to_numpy(), abs=0.02)
    assert explorer._repr_html_() == figures.explore_umaps(*given, budget=30_000)._repr_html_()
    assert explorer._repr_html_() != figures.explore_umaps(*given, seed=1, budget=30_000)._repr_html_()
    assert f"{part['shown']:,} of 50,000 cells" in repr(explorer)


@pytest.mark.parametrize(("sets", "methods", "types"), [(5, 12, 10), (20, 40, 45), (1, 1, 3)])
def test_a_page_stays_below_a_megabyte(sets, methods, types):
    cells = 100_000 if sets == 1 else 20_000  # more than are shown of one set
    table = obs(cells, types=[f"a cell type with a long name, number {i}" for i in range(types)])
    values = points(cells)  # the same for all: only their size counts
    explorer = figures.explore_umaps(
        {f"set {i}": {f"method {m}": values for m in range(methods)} for i in range(sets)},
        {f"set {i}": table for i in range(sets)},
    )
    script = sum((STATIC / f"umap.{suffix}").stat().st_size for suffix in ("js", "css"))
    page = len(explorer._repr_html_().encode())
    assert page + script < 1_000_000
    for part in read(explorer)["sets"]:
        assert part["shown"] * methods <= explore.POINTS
        assert len(set(words(part["groups"][0]["codes"]))) == types
    assert page > 300_000, "what fits is used"


def test_a_small_data_set_leaves_its_room_to_the_others():
    given = {"small": {"PCA": points(20)}, "large": {"PCA": points(5_000)}}
    small, large = read(figures.explore_umaps(given, {"small": obs(20), "large": obs(5_000)}, budget=25_000))[
        "sets"
    ]
    assert small["shown"] == 20 and large["shown"] > 1_000


def test_names_cannot_leave_the_script_element():
    names = ["</script><script>alert(1)</script>", "\"quoted\" & 'single'", "<!-- <script>", "β-cell\u2028"]
    table = obs(types=names)
    table["batch"] = table["batch"].cat.rename_categories(["<b>", "&amp;"])
    explorer = figures.explore_umaps({"</script>": {"<i>": points()}}, {"</script>": table})
    assert len(re.findall("</script>", explorer._repr_html_())) == 1
    (part,) = read(explorer)["sets"]
    assert set(shown(part)[1]) == set(names) and set(shown(part)[2]) == {"<b>", "&amp;"}
    assert (part["title"], part["methods"]) == ("</script>", ["<i>"])


def test_the_smallest_of_many_groups_are_one_entry(monkeypatch):
    monkeypatch.setattr(explore, "MOST_LABELS", (4, 2))
    table = obs(cells=20, types=["a"]).assign(cell_type=pd.Categorical(list("aaaaaabbbbbcccddefef")))
    (part,) = read(figures.explore_umaps({"toy": {"PCA": points(20)}}, {"toy": table}))["sets"]
    types = part["groups"][0]
    assert types["labels"] == ["a", "b", "c", "d", "2 other cell types"] and types["cells"] == [6, 5, 3, 2, 4]
    assert sorted(words(types["codes"])) == [0] * 6 + [1] * 5 + [2] * 3 + [3] * 2 + [4] * 4
    long = table.assign(cell_type=table["cell_type"].cat.rename_categories(lambda name: name * 400))
    (part,) = read(figures.explore_umaps({"toy": {"PCA": points(20)}}, {"toy": long}, budget=3_000))["sets"]
    assert len(part["groups"][0]["labels"]) == 3, "names leave room for cells"


def test_what_cannot_be_spread_out():
    table = obs().assign(library_size=500.0)
    flat = np.zeros((300, 2), np.float32)
    (part,) = read(figures.explore_umaps({"toy": {"flat": flat}}, {"toy": table}))["sets"]
    (values,), _, _, depth = shown(part)
    assert not values.any() and depth == pytest.approx([500.0] * 300)
    without = table.drop(columns="library_size")
    assert "depth" not in read(figures.explore_umaps({"toy": {"flat": flat}}, {"toy": without}))["sets"][0]


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match="coordinates of \\['a'\\], but cells of \\['b'\\]"):
        figures.explore_umaps({"a": {"PCA": points()}}, {"b": obs()})
    with pytest.raises(ValueError, match=r"PCA on a: coordinates \(299, 2\) of 300 cells"):
        figures.explore_umaps({"a": {"PCA": points(299)}}, {"a": obs()})
    with pytest.raises(ValueError, match="no cell fits into 100 bytes"):
        figures.explore_umaps({"a": {"PCA": points()}}, {"a": obs()}, budget=100)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


def test_ramps_stand_out_from_their_ground():
    # Non-text contrast of WCAG AA is 3; the faint end of a ramp may be a little below.
    grounds = {"light": 1.0, "dark": 0.009}  # luminance of the page in each theme
    ramps = read(figures.explore_umaps({"toy": {"PCA": points()}}, {"toy": obs()}))["ramps"]
    assert set(ramps) == set(grounds)
    for theme, colours in ramps.items():
        for colour in colours:
            dark, light = sorted((luminance(colour), grounds[theme]))
            assert (light + 0.05) / (dark + 0.05) > 2.5
