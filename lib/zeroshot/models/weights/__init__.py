"""Weights of pretrained models: found, downloaded and checked; read without executing anything.

``find`` gives the files of a model's card; ``at_hand`` and ``listed`` tell without network whether they are
here, ``origins`` where they come from.
``read_state`` reads tensors, ``read_content`` what else a torch file holds, of which ``tensors_of`` takes the
tensors; ``read_dictionary`` and ``read_genes`` read gene dictionaries and the order of genes; ``load_state``
fills a module and names every key that does not fit, ``write_state`` writes tensors and ``write_genes`` the
order of genes.
"""

from zeroshot.models.weights.error import WeightsError
from zeroshot.models.weights.fetch import origins
from zeroshot.models.weights.find import DICTIONARIES, ROLES, Checkpoint, ListedFile, at_hand, find, listed
from zeroshot.models.weights.gene_lists import read_genes, write_genes
from zeroshot.models.weights.pickles import read_dictionary
from zeroshot.models.weights.state import load_state, read_content, read_state, tensors_of, write_state

__all__ = [
    "DICTIONARIES", "ROLES", "Checkpoint", "ListedFile", "WeightsError", "at_hand", "find", "listed",
    "load_state", "origins", "read_content", "read_dictionary", "read_genes", "read_state",
    "tensors_of", "write_genes", "write_state",
]  # fmt: skip
