"""What tests of the docs share: the pages with their numbers filled in, and their code blocks."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.append(str(DOCS))

import site_accuracy
import site_pages
import site_tables

__all__ = ["site_accuracy", "site_tables"]

PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def read_page(name):
    """Text of a page, with its numbers filled in; generated parts stay markers."""
    text = (DOCS / name).read_text("utf-8")
    return site_pages.NUMBER.sub(lambda match: site_pages.load_numbers()[match[1]], text)


def find_blocks(name, language):
    """Code blocks of a page in one language; ``""`` for those without."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read_page(name), re.MULTILINE | re.DOTALL)
