"""ChatCell: a cell as the names of its genes, read by the encoder of a T5."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zeroshot.models import Cells
from zeroshot.models.language_models import (
    MeanState,
    Sentence,
    ends_of_names,
    read_config,
    read_network,
    read_vocabulary,
    require_length,
    sentence_tokenizer,
)
from zeroshot.models.weights import Checkpoint, WeightsError
from zeroshot.models.weights.files import shortened
from zeroshot.tokens.sequences import Tokenizer

PACKAGES = ("numpy", "pandas", "scipy", "tokenizers", "torch", "transformers")


@dataclass(frozen=True, kw_only=True)
class ChatCell:
    """Mean of the encoder's last hidden states over the tokens of a cell sentence.

    The authors define no embedding, they ask the model for text; this one is ours.

    Attributes
    ----------
    checkpoint
        Roles "config", "weights" and "vocabulary" (``tokenizer.json``) of a T5.
    architecture
        ``config: released`` for the sizes in the file "config": makes the model an untrained one, its weights
        drawn by the seed.
    n_genes
        Most genes of the sentence, the most expressed ones.
    max_tokens
        Longest sentence; the end of a longer one is cut, and the genes in it are counted.

    Source
    ------
    Fang et al. 2024; zjunlp/ChatCell at 88cecb0: names of the 100 most expressed genes as the data set spells
    them, with blanks between them.

    Differs
    -------
    Genes of equal counts stand in the order of the data set, upstream's in a random one. There is no question
    around the sentence.
    """

    checkpoint: Checkpoint
    architecture: Mapping[str, Any] | None = None
    n_genes: int = 100
    max_tokens: int = 512

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Return what writes the sentences of any rows, as tokens.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If more than half of the genes are named by identifiers.
        zeroshot.models.weights.WeightsError
            If config and vocabulary are of different models, or not those of a T5.
        """
        path = self.checkpoint.files["config"]
        config = read_config(path)
        if config.model_type != "t5":
            raise WeightsError(
                f"{path} describes a model of type {shortened(config.model_type)}; ChatCell's are of type "
                "'t5'. Name the folder of one of its models."
            )
        require_length(self.max_tokens, config, path)
        vocabulary = read_vocabulary(self.checkpoint.files["vocabulary"], config.vocab_size)
        return sentence_tokenizer(
            cells, vocabulary, _write,
            title="ChatCell", n_genes=self.n_genes,
            max_tokens=self.max_tokens, pad_id=config.pad_token_id or 0,
        )  # fmt: skip

    def network(self, cells: Cells, seed: int) -> MeanState:
        """Return the encoder with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If the weights are not those of the config.
        """
        drawn_by = None if self.architecture is None else seed
        return MeanState(read_network(self.checkpoint, "encoder", seed=drawn_by))


def _write(genes: list[str]) -> Sentence:
    return " ".join(genes), ends_of_names(genes, 0)
