"""An executed notebook as Markdown: cells, what they printed, and their pictures."""

import html
import json
import re
from pathlib import Path
from typing import Any

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def show_notebook(path: Path) -> str:
    """Write the cells of a notebook that was executed as Markdown."""
    parts = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        printed = [one for one in cell["outputs"] if one["output_type"] == "stream"]
        parts.append(_show_text("".join("".join(one["text"]) for one in printed)))
        parts += [_show_output(one) for one in cell["outputs"] if one not in printed]
    return "\n\n".join(part for part in parts if part)


def _show_output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        source = f"data:image/png;base64,{picture}"
        return f'<img class="output" alt="Output of the cell above" src="{source}">'
    if "text/html" in data:
        return '<div class="output" markdown="0">' + "".join(data["text/html"]) + "</div>"
    return _show_text("".join(data.get("text/plain", "")))


def _show_text(text: str) -> str:
    text = html.escape(ANSI.sub("", text).strip())
    return f'<pre class="output"><code>{text}</code></pre>' if text else ""
