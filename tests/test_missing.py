"""What is said of a package that is not installed: its name, and the line that installs it."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from ball import ball, list_files, place, run
from deskull.errors import explain_missing

__all__ = ["ball", "place"]


def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(
    place, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "deskull.picture.mosaic", raising=False)
    before = list_files(place)
    assert run("scan.nii.gz", "--picture", "p.png") == 1
    words = "deskull strip: pillow is not installed. Run: pip install pillow"
    assert capsys.readouterr().err == f"deskull: error: {words}\n"
    assert list_files(place) == before


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("SimpleITK", "SimpleITK is not installed. Run: pip install SimpleITK"),
        ("nrrd", "pynrrd is not installed. Run: pip install pynrrd"),
        ("pandas", "source: pip install '.[train]'"),
        ("torch.cuda", "whl/cpu (without a GPU; the plain build takes 6 GB), then pip install"),
        ("tensorboard", "pip install '.[tensorboard]'"),
        ("pydra", "pip install '.[pydra]'"),
        ("ipyniivue", "pip install '.[notebook]'"),
    ],
)
def test_what_is_missing_is_installed_by_its_own_line(module, line):
    assert line in explain_missing(module)


def test_every_extra_that_is_named_exists():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    for name in ("pandas", "distributed", "tensorboard", "nipype", "pydra", "ipyniivue"):
        extra = re.search(r"'\.\[(.+)\]'", explain_missing(name))[1]
        assert any(one.startswith(name) for one in extras[extra])
