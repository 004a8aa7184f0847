"""What MkDocs does to the pages: quote measured numbers, and put in what the code knows.

A page writes ``{{ speed.cold_s }}`` for a number of ``numbers.toml``, and
``<!-- generated: NAME -->`` for one of `GENERATORS`. Nothing here knows how a page looks.
"""

import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src"), str(DOCS.parent / "benchmarks")]

import peers  # noqa: E402
from deskull import __version__  # noqa: E402
from deskull.network.weights import load_weights  # noqa: E402
from site_accuracy import show_accuracy  # noqa: E402
from site_notebook import show_notebook  # noqa: E402
from site_tables import (  # noqa: E402
    show_command_line,
    show_recipes,
    show_records,
)

GENERATORS = {
    "accuracy": lambda: show_accuracy(DOCS / "background" / "accuracy.tsv"),
    "tools": lambda: peers.make_table(peers.load_rows(peers.ACCURACY)),
    "about tools": peers.describe_tools,
    "command line": show_command_line,
    "recipes": show_recipes,
    "records": lambda: show_records(DOCS / "reference" / "schemas"),
    "notebook": lambda: show_notebook(DOCS / "tutorials" / "published-recipe.ipynb"),
}
NUMBER = re.compile(r"\{\{ ([\w.]+) \}\}")
SHIM = "https://unpkg.com/iframe-worker/shim"  # as the theme's plugin `offline` asks for it
GENERATED = re.compile(r"<!-- generated: (.+?) -->")


@cache
def load_numbers() -> dict[str, str]:
    """Read every number by its dotted name, with the version and the weights in use."""
    sections = tomllib.loads((DOCS / "numbers.toml").read_text("utf-8"))
    numbers = {
        f"{section}.{name}": str(value)
        for section, values in sections.items()
        for name, value in values.items()
    }
    return numbers | {"version": __version__, "weights": load_weights().digest[:12]}


def fill_page(markdown: str) -> str:
    """Put numbers and generated parts into the text of a page.

    Raises
    ------
    KeyError
        If a page asks for what is not there.
    """
    markdown = GENERATED.sub(lambda match: GENERATORS[match[1]](), markdown)
    return NUMBER.sub(lambda match: load_numbers()[match[1]], markdown)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill a page, when MkDocs asks for it."""
    return fill_page(markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Load what the search needs in pages opened from disk from the site itself."""
    return output.replace(SHIM, "../" * page.url.count("/") + "iframe-worker.js")


def on_post_template(output_content: str, **_: Any) -> str:
    """Do the same in the page for addresses that do not exist."""
    return output_content.replace(SHIM, "iframe-worker.js")
