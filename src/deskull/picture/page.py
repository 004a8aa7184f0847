"""The frame of every HTML page that deskull writes: one file, nothing from outside.

Pages are Jinja2 templates with autoescape, in the folder ``templates`` of the package that they
belong to; they extend ``base.html`` of this one. A page's policy lets it load nothing and run
only the script that it was made with. Jinja2 is imported when the first page is made.
"""

import base64
import hashlib
import math
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'unsafe-inline'; "
    "script-src {scripts}; connect-src 'self'; base-uri 'none'; form-action 'none'"
)


def make_page(package: str, template: str, *, script: str = "", **values: Any) -> str:
    """Make a whole page.

    Parameters
    ----------
    package
        Package whose folder ``templates`` holds the template, such as ``"deskull.review"``.
    template
        File name of the template; it extends ``base.html``.
    script
        JavaScript of the page, placed at its end. Data for it belong into attributes or into
        ``<script type="application/json">``, by Jinja's filter ``tojson``.
    **values
        Variables of the template, among them ``title``. Text is escaped.

    Returns
    -------
    str
        HTML that opens from disk, loads nothing, and prints.

    Raises
    ------
    ValueError
        If the script contains the tag that would end its own element.
    """
    if "</script" in script.lower():
        raise ValueError("script contains </script; expected none.")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = POLICY.format(scripts=f"'sha256-{digest}'" if script else "'none'")
    return render(package, template, policy=policy, script=script, **values)


def render(package: str, template: str, **values: Any) -> str:
    """Fill in a template of a package's folder ``templates``; text is escaped."""
    return _make_environment(package).get_template(template).render(values)


@cache
def _make_environment(package: str) -> "Environment":
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    places = dict.fromkeys((package, "deskull.picture"))
    environment = Environment(
        autoescape=True,
        loader=ChoiceLoader([PackageLoader(place) for place in places]),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["pixel"] = lambda value: f"{value:.1f}"
    environment.filters["digits"] = to_digits
    return environment


def to_digits(value: float | None, digits: int = 0, sign: bool = False) -> str:
    """Write a number with so many digits after the point; a dash where it does not exist.

    Examples
    --------
    >>> to_digits(1432.46, 1), to_digits(0.5, 1, sign=True), to_digits(None)
    ('1432.5', '+0.5', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{'+' if sign else ''}.{digits}f}"


def read_static(package: str, name: str) -> bytes:
    """Read a file of a package's folder ``static``."""
    return (files(package) / "static" / name).read_bytes()


def to_data_address(content: bytes, kind: str) -> str:
    """Make a ``data:`` address, so that a picture lies in the page itself.

    Parameters
    ----------
    content
        Bytes of the file.
    kind
        Media type, such as ``"image/webp"``.

    Examples
    --------
    >>> to_data_address(b"GIF", "image/gif")
    'data:image/gif;base64,R0lG'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def encode_page(page: str) -> bytes:
    r"""Encode a page as UTF-8; characters of file names that are not text become ``?``.

    Examples
    --------
    >>> encode_page("<p>ä</p>")
    b'<p>\xc3\xa4</p>'
    """
    return page.encode("utf-8", "replace")
