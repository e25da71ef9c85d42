"""Ladders of ``data/ladders.yml``: the same networks pretrained on corpora of different size and tissue."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from zeroshot.catalog.fields import EntryName, Line, Parameters, Record, Seeds, Size, as_dict, read_only
from zeroshot.catalog.records import Card


class LadderNetwork(Record):
    """One network of a ladder: what it is before training, and how it is trained and read."""

    title: Line
    model: str  # an untrained twin of data/models.yml, or a model that is fitted to a corpus in one go
    # Other values for fields of the twin's architecture.
    architecture: Parameters = Field(default_factory=dict)
    # Of zeroshot.pretraining.Training; epochs and seed are the ladder's.
    training: Parameters = Field(default_factory=dict)
    # Put over the recipe of the trained model when target cells are embedded.
    reading: Parameters = Field(default_factory=dict)
    # Whether another seed gives other weights; if not, it is trained under the first alone.
    seeded: bool = True

    @property
    def is_contrastive(self) -> bool:
        """Whether it predicts nothing that is hidden, and recognises cells instead."""
        return self.training.get("objective") == "contrastive"


class Ladder(Card):
    """One ladder: every network on every corpus, scored on data sets that no corpus has cells of."""

    title: Line
    description: str
    networks: Annotated[Mapping[EntryName, LadderNetwork], read_only, as_dict]
    corpora: Annotated[Mapping[EntryName, Seeds], read_only, as_dict]  # with the number of seeds on each
    passes: Size  # cells that each training reads, of a small corpus the same ones many times; of PCA none
    genes: Size  # of the vocabulary, those in most cells of the corpus
    # Of each training, evenly over its steps, besides the one before the first step.
    validations: int = Field(gt=0, le=10_000)
    scored_validations: tuple[int, ...] = Field(min_length=1)  # at which of them, from 0 on, it is scored
    datasets: tuple[str, ...] = Field(min_length=1)  # targets
    cells: Size  # of each target, at most
    metrics: tuple[str, ...] = Field(min_length=1)
    baselines: tuple[str, ...]  # models fitted on the same cells, and controls

    def n_seeds(self, network: str, corpus: str) -> int:
        """How many trainings a network has on a corpus, one for each seed from 0 on."""
        return self.corpora[corpus] if self.networks[network].seeded else 1

    @property
    def n_trainings(self) -> int:
        """How many trainings there are, on all corpora."""
        return sum(self.n_seeds(network, corpus) for network in self.networks for corpus in self.corpora)

    @model_validator(mode="after")
    def _fits_together(self) -> "Ladder":
        numbers = self.scored_validations
        if list(numbers) != sorted(set(numbers)) or numbers[0] < 0 or numbers[-1] != self.validations:
            raise ValueError(
                f"`scored_validations` must rise from 0 or more to the last one, {self.validations}"
            )
        if both := sorted(set(self.networks) & set(self.baselines)):
            raise ValueError(f"a network has the name of a baseline: {', '.join(both)}")
        if not self.networks or not self.corpora:
            raise ValueError("a ladder needs `networks` and `corpora`")
        return self
