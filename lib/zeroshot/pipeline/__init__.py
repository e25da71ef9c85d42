"""One run, step by step: embed, check, score, project, each computed once and kept in the store."""

from .annotations import NOVEL, Annotation, annotate, join
from .embeddings import embed, notes_of, reconstruct, require_sound, sound_matrix
from .few_labels import score_few_labels
from .keys import COMPUTED_BY, modules_of_model
from .mappings import score_mapping
from .own_embeddings import doubts_of_file, evaluation_record, evaluation_table
from .runs import Run, run
from .scores import expected_seconds, score, score_matrix, score_other_seeds
from .umaps import ON_UMAP, project, score_umap

__all__ = [
    "COMPUTED_BY",
    "NOVEL",
    "ON_UMAP",
    "Annotation",
    "Run",
    "annotate",
    "doubts_of_file",
    "embed",
    "evaluation_record",
    "evaluation_table",
    "expected_seconds",
    "join",
    "modules_of_model",
    "notes_of",
    "project",
    "reconstruct",
    "require_sound",
    "run",
    "score",
    "score_few_labels",
    "score_mapping",
    "score_matrix",
    "score_other_seeds",
    "score_umap",
    "sound_matrix",
]
