"""deskull as a step of other people's pipelines; each module needs what it is named after.

`nipype.py` is an interface of Nipype, `pydra.py` a task of Pydra, `boutiques.py` the descriptor
for Boutiques. All run the `deskull` command in a process of its own, so that its memory is
released after each scan.
"""

import sys

from deskull.outputs import Output

COMMAND = (sys.executable, "-m", "deskull")
"""deskull of this very Python; a bare `deskull` may be that of another environment."""

MEMORY_GB = 0.8
"""Memory to request for a scan of 256 x 256 x 256 voxels; about twice what was measured."""


def is_default(row: Output) -> bool:
    """Whether a pipeline gets an output that it does not request: brain, mask and record."""
    return row.usual or row.name == "record"
