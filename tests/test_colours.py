"""Colours of groups: one each, and told apart also by readers who lack one kind of cones."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from zeroshot.figures.style import group_colours

# What linear red, green and blue become without one kind of cones, named after the colour they see: Machado,
# Oliveira and Fernandes (2009), https://doi.org/10.1109/TVCG.2009.113, severity 1.
WITHOUT_CONES = {
    "red": ((.152286, 1.052583, -.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}  # fmt: skip
# Of linear sRGB, divided by those of its white.
TO_XYZ = np.divide(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]],
    [[0.95047], [1.0], [1.08883]],
)


def least_difference(colours: list, without: str) -> float:
    """Smallest distance in CIELAB between two of the colours; one of 2 is just noticed."""
    values = np.array(colours)
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(WITHOUT_CONES[without]), 0, 1)
    x, y, z = (np.where(v > 216 / 24389, np.cbrt(v), (24389 / 27 * v + 16) / 116) for v in TO_XYZ @ seen.T)
    return float(pdist(np.column_stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])).min())


@pytest.mark.parametrize("without", WITHOUT_CONES)
@pytest.mark.parametrize(("n_colours", "least"), [(10, 10), (20, 6), (30, 4)])
def test_the_colour_blind_can_tell_groups_apart(n_colours, least, without):
    assert least_difference(group_colours(n_colours), without) > least


@pytest.mark.parametrize("n_colours", [0, 1, 10, 11, 30, 31, 60])
def test_every_group_has_a_colour_of_its_own(n_colours):
    colours = {tuple(colour) for colour in group_colours(n_colours)}
    assert len(colours) == n_colours
    assert all(0 <= value <= 1 for colour in colours for value in colour)
