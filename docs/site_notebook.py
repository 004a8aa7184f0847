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
        parts += [_show_output(output) for output in cell["outputs"]]
    return "\n\n".join(part for part in parts if part)


def _show_output(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return _show_text("".join(output["text"]))
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
