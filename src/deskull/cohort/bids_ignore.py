"""The files that a BIDS data set leaves out itself, by its ``.bidsignore``."""

import re
from pathlib import Path


class Ignore:
    """The rules of ``.bidsignore`` in the root of a data set, which are those of gitignore.

    Parameters
    ----------
    root
        Root folder of the data set.
    """

    def __init__(self, root: Path) -> None:
        try:
            lines = (root / ".bidsignore").read_text("utf-8-sig", "replace").splitlines()
        except OSError:
            lines = []
        patterns = [line.strip() for line in lines]
        self._rules = [_make_rule(text) for text in patterns if text and not text.startswith("#")]

    def matches(self, path: str) -> bool:
        """Whether a file is left out, its path given from the root with forward slashes."""
        left_out = False
        for rule, leaves_out in self._rules:
            if rule.fullmatch(path):
                left_out = leaves_out
        return left_out


def _make_rule(pattern: str) -> tuple[re.Pattern[str], bool]:
    """Make the regular expression of a pattern; False if what matches is kept again."""
    leaves_out = not pattern.startswith("!")
    pattern = pattern.removeprefix("!")
    start = "" if "/" in pattern.rstrip("/") else "(?:.*/)?"
    end = "/.*" if pattern.endswith("/") else "(?:/.*)?"
    special = {"**/": "(?:.*/)?", "/**": "/.*", "*": "[^/]*", "?": "[^/]"}
    rule = ""
    for part in re.split(r"(\*\*/|/\*\*$|\*|\?|\[[^]\\]+\])", pattern.strip("/")):
        some = part.startswith("[") and part.endswith("]")
        rule += special.get(part) or (part.replace("[!", "[^") if some else re.escape(part))
    return re.compile(f"{start}{rule}{end}"), leaves_out
