"""Weights of pretrained models: found, downloaded and checked; read without executing anything.

``find`` gives the files of a model's card, ``at_hand`` tells without network whether they are here.
``read_state`` and ``read_dictionary`` read tensors and gene dictionaries, ``load_state`` fills a
module and names every key that does not fit.
"""

from zeroshot.weights.error import WeightsError
from zeroshot.weights.find import DICTIONARIES, ROLES, Checkpoint, at_hand, find
from zeroshot.weights.pickles import read_dictionary
from zeroshot.weights.state import load_state, read_state

__all__ = [
    "DICTIONARIES", "ROLES", "Checkpoint", "WeightsError", "at_hand", "find", "load_state",
    "read_dictionary", "read_state",
]  # fmt: skip
