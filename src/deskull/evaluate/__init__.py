"""How good masks are: predictions against references, and a cohort against training heads.

Pairs of masks are found by `pairing.py`, read by `masks.py`, and measured and summarised by
`results.py`; a cohort is compared with the training heads by `drift.py`; `pages.py` shows both.
"""

from deskull.evaluate.masks import Mask, check_one_grid, load_canonical_mask
from deskull.evaluate.pairing import Comparison, Pairing, find_swapped, pair_folders, read_pairs
from deskull.evaluate.results import (
    COLUMNS,
    METRICS,
    Estimate,
    Row,
    Summary,
    compare_masks,
    estimate,
    evaluate,
    summarise,
    to_json,
    to_tsv,
)

__all__ = [
    "COLUMNS",
    "METRICS",
    "Comparison",
    "Estimate",
    "Mask",
    "Pairing",
    "Row",
    "Summary",
    "check_one_grid",
    "compare_masks",
    "estimate",
    "evaluate",
    "find_swapped",
    "load_canonical_mask",
    "pair_folders",
    "read_pairs",
    "summarise",
    "to_json",
    "to_tsv",
]
