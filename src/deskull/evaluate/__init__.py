"""How good are masks: predictions against references, and a cohort against training heads.

`pairing` finds what belongs together, `metrics_table` measures it row by row, `summary` sums it
up, `page` shows it; `population` and `drift` compare a cohort with the training heads.
"""

from deskull.evaluate.masks import Mask, check_one_grid, load_canonical_mask
from deskull.evaluate.metrics_table import (
    COLUMNS,
    METRICS,
    Row,
    compare_masks,
    evaluate,
    to_tsv,
)
from deskull.evaluate.pairing import Comparison, Pairing, find_swapped, pair_folders, read_pairs
from deskull.evaluate.summary import Estimate, Summary, estimate, summarise, to_json

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
