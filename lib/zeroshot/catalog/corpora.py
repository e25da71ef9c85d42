"""Named corpora of ``data/corpora.yml``: which cells a network is pretrained on, which it must not see."""

from pydantic import Field, model_validator

from zeroshot.catalog.fields import Line, Size
from zeroshot.catalog.records import Card


class Corpus(Card):
    """One corpus: all cells of its sources and of other corpora, or a share of them."""

    title: Line
    description: str
    sources: tuple[str, ...] = ()  # of data/corpus_sources.yml or data/datasets.yml
    corpora: tuple[str, ...] = ()  # whose sources it has, too; they are made of no other corpora
    share: float = Field(default=1.0, gt=0, le=1)  # of the cells of each source
    most_haemoglobin: float = Field(default=1.0, gt=0, le=1)  # share of a cell's counts
    apart_from: tuple[str, ...] = Field(min_length=1)  # studies: no cell of their data sets is in it
    cells: Size  # asserted

    @model_validator(mode="after")
    def _is_made_of_something(self) -> "Corpus":
        if not self.sources and not self.corpora:
            raise ValueError("a corpus needs `sources` or `corpora`")
        for names in (self.sources, self.corpora):
            if repeated := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"listed twice: {', '.join(repeated)}")
        return self
