"""Users' .h5ad files: what they hold is checked before anything trusts it; a file is never changed."""

from zeroshot.data.h5ad.file import elements, open_h5ad, require_self_contained
from zeroshot.data.h5ad.parts import places_with_integers, read_array, read_h5ad_parts, read_obs

__all__ = [
    "elements",
    "open_h5ad",
    "places_with_integers",
    "read_array",
    "read_h5ad_parts",
    "read_obs",
    "require_self_contained",
]
