"""Print the oldest versions of what deskull requires, one `name==version` a line.

    python tests/oldest.py > oldest.txt
    pip install -r oldest.txt pytest hypothesis && pip install --no-deps -e .
    pytest -o filterwarnings=

Run before a release in an environment of its own: what they warn of themselves is no error.
"""

import re
import tomllib
from pathlib import Path

EXTRAS = ("n4", "minc", "openvino", "train")


def main() -> None:
    """Turn each lower bound into a version."""
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8")
    project = tomllib.loads(text)["project"]
    extras = [line for name in EXTRAS for line in project["optional-dependencies"][name]]
    for line in project["dependencies"] + extras:
        print(re.sub(r">=([^,]+).*", r"==\1", line))


if __name__ == "__main__":
    main()
