"""Cell2Sentence and C2S-Scale: a cell as the names of its genes, read by a causal language model."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
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
from zeroshot.models.weights import Checkpoint
from zeroshot.tokens.sequences import Tokenizer

PACKAGES = ("numpy", "pandas", "scipy", "tokenizers", "torch", "transformers")

_SLOTS = {"num_genes", "organism", "cell_sentence"}
_PROMPT = (
    "These are the names of {num_genes} genes of one {organism} cell, by descending expression.\n"
    "Cell sentence: {cell_sentence}.\n"
    "The type of this cell is:"
)


@dataclass(frozen=True, kw_only=True)
class CellSentenceModel:
    """Mean of the last hidden states over the tokens of a prompt that holds the cell sentence.

    Attributes
    ----------
    checkpoint
        Roles "config", "weights" and "vocabulary" (``tokenizer.json``) of any causal language model that
        transformers knows.
    architecture
        ``config: released`` for the sizes in the file "config": makes the model an untrained one, its weights
        drawn by the seed.
    n_genes
        Most genes of the sentence, the most expressed ones; also what the prompt says where a cell has fewer.
    organism
        As the prompt says it.
    template
        Prompt with the slots ``{num_genes}``, ``{organism}`` and, once, ``{cell_sentence}``.
    max_tokens
        Longest prompt; the end of a longer one is cut, and the genes in it are counted.

    Source
    ------
    Levine et al. 2024; vandijklab/cell2sentence at b2bea70: names in upper case, ranked by normalised counts,
    200 of them in a prompt that ends in a question for the cell type, mean of the states after the last norm.

    Differs
    -------
    One prompt in our own words for all cells: upstream draws one of 15 by the number of the row, and their
    licence does not let us ship them. Padding is not part of the mean: upstream pads on the left and takes
    the mean over all, so that a cell depends on the others of its eight. Genes of equal counts stand in the
    order of the data set, upstream's in a random one. No cell and no gene is left out.
    """

    checkpoint: Checkpoint
    architecture: Mapping[str, Any] | None = None
    n_genes: int = 200
    organism: str = "Homo sapiens"
    template: str = _PROMPT
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        """Refuse a prompt without the cell, or with slots that nothing fills."""
        slots = [slot for _, slot, _, _ in Formatter().parse(self.template) if slot is not None]
        if slots.count("cell_sentence") != 1 or not set(slots) <= _SLOTS:
            raise ValueError(
                f"the template has the slots {slots}: it needs {{cell_sentence}} once, and may have "
                "{num_genes} and {organism}"
            )

    def tokenizer(self, cells: Cells, seed: int) -> Tokenizer:
        """Return what writes the prompts of any rows, as tokens.

        Raises
        ------
        zeroshot.tokens.genes.GeneOverlapError
            If more than half of the genes are named by identifiers.
        zeroshot.models.weights.WeightsError
            If vocabulary and config are of different models, or ``max_tokens`` is too long for it.
        """
        config = read_config(self.checkpoint.files["config"])
        require_length(self.max_tokens, config, self.checkpoint.files["config"])
        vocabulary = read_vocabulary(self.checkpoint.files["vocabulary"], config.vocab_size)
        return sentence_tokenizer(
            cells, vocabulary, self._write,
            title="Cell2Sentence", n_genes=self.n_genes,
            max_tokens=self.max_tokens, pad_id=config.pad_token_id or 0,
        )  # fmt: skip

    def network(self, cells: Cells, seed: int) -> MeanState:
        """Return the language model with the weights of the checkpoint, or with weights drawn by the seed.

        Raises
        ------
        zeroshot.models.weights.WeightsError
            If the weights are not those of the config.
        """
        drawn_by = None if self.architecture is None else seed
        return MeanState(read_network(self.checkpoint, seed=drawn_by))

    def _write(self, genes: list[str]) -> Sentence:
        names = [gene.upper() for gene in genes]
        slots = {"num_genes": self.n_genes, "organism": self.organism}
        before, after = (part.format(**slots) for part in self.template.split("{cell_sentence}"))
        return f"{before}{' '.join(names)}{after}", ends_of_names(names, len(before))
