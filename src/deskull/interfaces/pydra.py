"""deskull as a task of Pydra, 0.25 or 1.0, whose tasks are made and called differently."""

from importlib.util import find_spec

if find_spec("pydra.compose"):
    from deskull.interfaces._pydra_1 import Strip
else:
    from deskull.interfaces._pydra_0 import Strip

__all__ = ["MEMORY_GB", "Strip"]

MEMORY_GB = 0.8
"""To ask a scheduler for, for a scan of 256 x 256 x 256 voxels; measured is about half."""
