"""One ``draw_<what>`` per figure: tidy table in, matplotlib Figure out.

Colours are the colour-blind-safe palette of seaborn; every figure has an opaque white ground, so
that it reads the same on a light and a dark page. Names of data are shown as they are written, long ones
shortened, and a figure says how many it leaves out. Shown in a notebook, a figure brings its vector form
and the table it draws; elsewhere :func:`to_svg` and :func:`to_csv` give them. :func:`explore_umaps`,
:func:`explore_flows` and :func:`explore_tree` are for readers who want to point at cells and models.
"""

from .ablations import draw_curves, draw_effects, draw_similarity
from .atlas import draw_coverage, draw_membership, draw_overview
from .claims import draw_verdicts
from .embeddings import draw_composition, draw_depth, draw_umap, draw_umaps
from .evidence import draw_forest, draw_noise, draw_outcomes, draw_profiles
from .explore import UmapExplorer, explore_umaps
from .files import to_csv, to_svg
from .flows import FlowExplorer, explore_flows, lay_out_flows
from .gene_sets import draw_gene_sets
from .label_curves import draw_label_curves
from .ladders import draw_ladder, draw_loss_curves, draw_losses_and_scores
from .literature import (
    draw_editions,
    draw_lineage,
    draw_papers_by_venue,
    draw_papers_by_year,
    draw_pretraining_sizes,
    draw_task_matrix,
    draw_taxonomy,
    draw_workflow,
)
from .ranks import draw_pareto, draw_ranks
from .reconstruction import draw_bins, draw_joint, draw_rank_correlations, draw_reconstruction_errors
from .scores import (
    draw_differences,
    draw_mappings,
    draw_places,
    draw_published,
    draw_scores_by_method,
    draw_scores_on_umap,
)
from .tokenisations import draw_tokenisations
from .tree import TreeExplorer, draw_tree, explore_tree, lay_out_tree
from .variants import draw_variants

__all__ = [
    "FlowExplorer",
    "TreeExplorer",
    "UmapExplorer",
    "draw_bins",
    "draw_composition",
    "draw_coverage",
    "draw_curves",
    "draw_depth",
    "draw_differences",
    "draw_editions",
    "draw_effects",
    "draw_forest",
    "draw_gene_sets",
    "draw_joint",
    "draw_label_curves",
    "draw_ladder",
    "draw_lineage",
    "draw_loss_curves",
    "draw_losses_and_scores",
    "draw_mappings",
    "draw_membership",
    "draw_noise",
    "draw_outcomes",
    "draw_overview",
    "draw_papers_by_venue",
    "draw_papers_by_year",
    "draw_pareto",
    "draw_places",
    "draw_pretraining_sizes",
    "draw_profiles",
    "draw_published",
    "draw_rank_correlations",
    "draw_ranks",
    "draw_reconstruction_errors",
    "draw_scores_by_method",
    "draw_scores_on_umap",
    "draw_similarity",
    "draw_task_matrix",
    "draw_taxonomy",
    "draw_tokenisations",
    "draw_tree",
    "draw_umap",
    "draw_umaps",
    "draw_variants",
    "draw_verdicts",
    "draw_workflow",
    "explore_flows",
    "explore_tree",
    "explore_umaps",
    "lay_out_flows",
    "lay_out_tree",
    "to_csv",
    "to_svg",
]
