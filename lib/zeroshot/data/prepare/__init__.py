"""From the source files, as their authors publish them, to counts, labels and batches.

One function per data set, one module per tissue; sources of corpora share one function per kind of file.
``files`` maps file names to paths, the result holds raw counts in ``X``, ``obs["cell_type"]``,
``obs["batch"]`` and ``obs["library_size"]`` where the source knows more genes than it gives counts for.
:mod:`zeroshot.data.validate` checks and completes what comes back.
"""

from .atlases import tabula_sapiens
from .blood import (
    kang_deepmaps,
    pbmc68k_reduced,
    pbmc_3k_4k,
    pbmc_12k,
    pbmc_savercat,
    pbmc_three_chemistries,
)
from .cell_lines import celllines_scmixology
from .counts_files import r_counts, text_counts
from .fetal import cortex_culture, geact_fetal
from .pancreas import baron_human1, pancreas, pancreas_two_studies
from .sorted_blood import pbmc_95k, pbmc_sorted, zheng_sorted_fasttopics

__all__ = [
    "baron_human1",
    "celllines_scmixology",
    "cortex_culture",
    "geact_fetal",
    "kang_deepmaps",
    "pancreas",
    "pancreas_two_studies",
    "pbmc68k_reduced",
    "pbmc_3k_4k",
    "pbmc_12k",
    "pbmc_95k",
    "pbmc_savercat",
    "pbmc_sorted",
    "pbmc_three_chemistries",
    "r_counts",
    "tabula_sapiens",
    "text_counts",
    "zheng_sorted_fasttopics",
]  # fmt: skip
