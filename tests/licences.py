"""Lists what an install of the stripping part brings along, and under which licences.

    python tests/licences.py

Read from the metadata of the installed packages; those that the optional extras add are not
in the list. Libraries inside wheels (such as the Fortran runtime in numpy's and scipy's, under
the GPL with the exception that lets any program use it) are named in the wheels' own licences.
"""

import re
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

COPYLEFT = re.compile(r"\b([AL]?GPL|MPL|EUPL|CeCILL)|GNU (Affero |Lesser )?General", re.I)


def find_packages(root: str = "deskull") -> Iterator[str]:
    """Names of a package and of all that it requires, directly or not, without extras."""
    seen, waiting = set(), [root]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        yield name
        wanted = [Requirement(text) for text in metadata.requires(name) or ()]
        waiting += [
            one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})
        ]


def find_licence(name: str) -> str:
    """Licence as a package names it, in a line."""
    facts = metadata.metadata(name)
    classified = [
        text.rpartition(" :: ")[2]
        for text in facts.get_all("Classifier") or ()
        if text.startswith("License ::")
    ]
    said = facts.get("License-Expression") or ", ".join(classified) or facts.get("License") or ""
    return " ".join(said.split())


if __name__ == "__main__":
    for package in sorted(find_packages()):
        print(f"{package:22} {metadata.version(package):16} {find_licence(package)[:80]}")
