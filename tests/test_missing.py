"""Errors about a missing package: its name, and the command that installs it."""

import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest

from ball import ball, list_files, place, run
from deskull.errors import ImageFileError, explain_missing
from deskull.image.formats.minc import read_minc

__all__ = ["ball", "place"]


def test_a_missing_package_is_named_with_the_command_that_installs_it(place, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "deskull.picture.mosaic", raising=False)
    before = list_files(place)
    assert run("scan.nii.gz", "--picture", "p.png") == 1
    message = "deskull strip: pillow is not installed. Run: pip install pillow"
    assert capsys.readouterr().err == f"deskull: error: {message}\n"
    assert list_files(place) == before


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("SimpleITK", "SimpleITK is not installed. Run: pip install 'deskull[n4]'"),
        ("h5py", "h5py is not installed. Run: pip install 'deskull[minc]'"),
        ("nrrd", "pynrrd is not installed. Run: pip install pynrrd"),
        ("pandas", "Run: pip install 'deskull[train]'"),
        ("torch.cuda", "whl/cpu (without a GPU; the plain build takes 6 GB), then pip install"),
        ("tensorboard", "pip install 'deskull[tensorboard]'"),
        ("pydra", "pip install 'deskull[pydra]'"),
        ("ipyniivue", "pip install 'deskull[notebook]'"),
    ],
)
def test_every_missing_package_has_its_install_command(module, line):
    assert line in explain_missing(module)


def test_every_extra_that_is_named_exists():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    named = ("SimpleITK", "h5py", "openvino", "backports", "pandas", "distributed")
    for name in (*named, "tensorboard", "nipype", "pydra", "ipyniivue"):
        extra = re.search(r"'deskull\[(.+)\]'", explain_missing(name))[1]
        assert any(one.startswith(name) for one in extras[extra])


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(("--n4",), "N4, the bias correction"), (("-c", "corrected.nii.gz"), "output corrected")],
)
def test_n4_without_simpleitk_is_refused_before_any_work(
    place, monkeypatch, capsys, arguments, what
):
    hide(monkeypatch, "SimpleITK")
    before = list_files(place)
    assert run("scan.nii.gz", "-m", "mask.nii.gz", *arguments) == 1
    line = f"{what}: SimpleITK is not installed. Run: pip install 'deskull[n4]'"
    assert capsys.readouterr().err == f"deskull: error: {line}\n"
    assert list_files(place) == before


def test_a_batch_with_n4_is_refused_before_its_folder_is_made(place, monkeypatch, capsys):
    hide(monkeypatch, "SimpleITK")
    assert run("batch", "scan.nii.gz", "-o", "out", "--n4") == 1
    assert "Run: pip install 'deskull[n4]'" in capsys.readouterr().err
    assert not (place / "out").exists()


def test_minc_2_without_h5py_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    path = tmp_path / "scan.mnc"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(ImageFileError, match=r"scan.mnc: MINC 2 .* 'deskull\[minc\]'"):
        read_minc(path)


def hide(monkeypatch, module):
    """Let a module look as if it were not installed."""
    find_spec = importlib.util.find_spec
    hidden = lambda name, *rest: None if name == module else find_spec(name, *rest)  # noqa: E731
    for where in ("deskull.prepare.bias", "deskull.outputs"):
        monkeypatch.setattr(f"{where}.find_spec", hidden)
