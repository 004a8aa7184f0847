"""deskull as a step of other people's pipelines; each module needs what it is named after.

`nipype.py` is an interface of Nipype, `pydra.py` a task of Pydra, `boutiques.py` the descriptor
for Boutiques. All run the `deskull` command in a process of its own, so that what it needs is
given back after each scan.
"""

import sys

COMMAND = (sys.executable, "-m", "deskull")
"""deskull of this very Python; a bare `deskull` may be that of another environment."""
