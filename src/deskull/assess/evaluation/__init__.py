"""How good are masks: predictions against references. The page is made in `page.py`."""

from deskull.assess.evaluation.masks import Mask, check_one_grid, load_canonical_mask
from deskull.assess.evaluation.pairing import Comparison, Pairing, pair_folders, read_pairs
from deskull.assess.evaluation.rows import (
    COLUMNS,
    METRICS,
    Row,
    compare_masks,
    evaluate,
    to_tsv,
)
from deskull.assess.evaluation.summary import Estimate, Summary, estimate, summarise, to_json

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
    "load_canonical_mask",
    "pair_folders",
    "read_pairs",
    "summarise",
    "to_json",
    "to_tsv",
]
