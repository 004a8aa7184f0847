"""The frame of every HTML page that deskull writes: one file, nothing from outside.

A page is text in, text out. Whatever comes from a scan, a file name or a table goes through
`escape` on its way into a body; what a page may do is said by its policy, which lets it load
nothing and run only the script that it was made with.
"""

import base64
import hashlib
import html

__all__ = ["NOT_MEDICAL", "escape", "make_page", "to_data_address"]

NOT_MEDICAL = "For research; not a medical device."

STYLE = """
:root { color-scheme: light dark; --back: #fff; --front: #1b1d21; --soft: #5c626b; --line: #d5d8dd;
  --raised: #f3f4f6; --mark: #c2410c; --good: #15803d; --bad: #b91c1c; --doubt: #a16207; }
@media (prefers-color-scheme: dark) { :root { --back: #16181c; --front: #e7e9ec; --soft: #9aa1ab;
  --line: #33373e; --raised: #1f2227; --mark: #fb923c; --good: #4ade80; --bad: #f87171;
  --doubt: #facc15; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1200px; padding: 1.2rem 1.5rem 3rem; background: var(--back);
  color: var(--front); font: 15px/1.5 system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 1.8rem 0 .5rem; }
p { margin: .3rem 0 .8rem; max-width: 75ch; } a { color: var(--mark); }
small, .soft { color: var(--soft); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; }
img, svg { max-width: 100%; height: auto; }
@media print { :root { --back: #fff; --front: #000; --soft: #444; --line: #bbb; --raised: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; } .screen { display: none !important; }
  tr, figure, section, img { break-inside: avoid; } a { color: inherit; text-decoration: none; } }
"""
"""Of every page: plain on screen, light or dark as the reader's system; black on white printed."""


def escape(text: object) -> str:
    """Make a text harmless anywhere in a page, also in a quoted attribute."""
    return html.escape(str(text), quote=True)


def to_data_address(content: bytes, kind: str) -> str:
    """Make a ``data:`` address, so that a picture lies in the page itself.

    Parameters
    ----------
    content
        Of the file.
    kind
        Its media type, such as ``"image/webp"``.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def make_page(title: str, body: str, *, style: str = "", script: str = "") -> str:
    r"""Make a whole page.

    Parameters
    ----------
    title
        Plain text; escaped here.
    body
        HTML. Every text in it from elsewhere must have gone through `escape`. Attributes such
        as ``onclick`` do nothing: the policy forbids them.
    style
        CSS after `STYLE`, which defines the colours ``--back``, ``--front``, ``--soft``,
        ``--line``, ``--raised``, ``--mark``, ``--good``, ``--bad`` and ``--doubt``, and classes
        ``number`` (a cell), ``soft`` (a word of less weight) and ``screen`` (not printed).
    script
        JavaScript of the page, at its end. Data for it belong into the body as
        ``<script type="application/json">``, with every ``<`` written ``\u003c``.

    Returns
    -------
    str
        HTML that opens from disk, loads nothing, and prints.

    Raises
    ------
    ValueError
        If the script or style would end its own element.
    """
    for name, text in (("script", script), ("style", style)):
        if f"</{name}" in text.lower():
            raise ValueError(f"{name} with </{name} in it; expected none.")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"'sha256-{digest}'" if script else "'none'"
    policy = (
        "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; "
        f"script-src {allowed}; connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n{body}\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )
