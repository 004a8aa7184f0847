"""Make the tutorial's notebook of `published_recipe.py`, and execute it.

    python examples/notebook.py                                   # the one of the docs
    python examples/notebook.py --set SMALL=False --set 'DATA=Path("NFBS")' --out mine.ipynb

Cells begin with `# %%`, and those of text with `# %% [markdown]`.
"""

import argparse
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
NOTEBOOK = HERE.parent / "docs" / "tutorials" / "published-recipe.ipynb"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=NOTEBOOK)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    make_notebook(options.out, dict(word.split("=", 1) for word in options.set))


def make_notebook(out: Path, settings: Mapping[str, str]) -> None:
    """Write the executed notebook; `settings` replace lines `NAME = VALUE` of the program."""
    text = (HERE / "published_recipe.py").read_text("utf-8")
    notebook = nbformat.v4.new_notebook(cells=read_cells(text))
    before = [cell.source for cell in notebook.cells]
    for cell in notebook.cells:
        for name, value in settings.items():
            cell.source = re.sub(
                rf"^{name} = [^#\n]*",
                lambda _, v=value, n=name: f"{n} = {v}  ",
                cell.source,
                flags=re.M,
            )
    start = f"import sys; sys.path.insert(0, {str(HERE)!r})\n%matplotlib inline\n"
    start += "%config InlineBackend.print_figure_kwargs = {'dpi': 80}"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(start))
    NotebookClient(notebook, timeout=7200, kernel_name="python3").execute()
    del notebook.cells[0]
    for cell, source in zip(notebook.cells, before, strict=True):
        cell.source = source
        clean(cell)
    notebook.metadata = {"language_info": {"name": "python"}}
    nbformat.write(notebook, out)


def read_cells(text: str) -> list[nbformat.NotebookNode]:
    """Part a program into the cells of a notebook."""
    cells = []
    for number, (kind, body) in enumerate(
        re.findall(r"^# %%(.*)\n((?:(?!# %%).*\n?)*)", text, re.M)
    ):
        markdown = "markdown" in kind
        source = re.sub(r"^# ?", "", body, flags=re.M) if markdown else body
        make = nbformat.v4.new_markdown_cell if markdown else nbformat.v4.new_code_cell
        cells.append(make(source.strip(), id=f"cell-{number}"))
    return cells


def clean(cell: nbformat.NotebookNode) -> None:
    """Leave out what differs from run to run, and store pictures in few colours."""
    cell.metadata = {}
    if cell.cell_type != "code":
        return
    cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    for output in cell.outputs:
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = shrink(output.data["image/png"])


def shrink(png: str) -> str:
    """Store a picture, in base64, in 64 colours."""
    content = BytesIO()
    with Image.open(BytesIO(b64decode(png))) as picture:
        picture.convert("RGB").quantize(64).save(content, "PNG", optimize=True)
    return b64encode(content.getvalue()).decode()


if __name__ == "__main__":
    main()
