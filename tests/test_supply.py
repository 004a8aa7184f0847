"""What is shipped and what it stands on: the wheel, its licences, and the lock file."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deskull import __version__
from deskull.network.weights import bundled_folder
from licences import COPYLEFT, find_licence, find_packages

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCK = ROOT / "requirements-dev.lock"


def test_nothing_that_the_stripping_part_requires_is_copyleft():
    licences = {name: find_licence(name) for name in find_packages()}
    assert {"numpy", "nibabel", "openvino"} <= set(licences)
    assert "" not in licences.values()
    assert {name: text for name, text in licences.items() if COPYLEFT.search(text)} == {}


def test_the_stripping_part_requires_no_learning_library():
    assert not {"torch", "tensorflow", "pandas", "matplotlib"} & set(find_packages())


def list_requirements():
    extras = PROJECT["optional-dependencies"]
    return [Requirement(one) for one in PROJECT["dependencies"] + extras["dev"]]


def test_every_requirement_has_a_lower_bound():
    loose = [str(one) for one in list_requirements() if not one.specifier]
    assert loose == []


def test_the_lock_file_holds_every_requirement_at_a_version_it_allows():
    lines = re.findall(r"^([\w.-]+)==([\w.+!-]+)", LOCK.read_text("utf-8"), re.MULTILINE)
    locked = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in lines}
    for one in list_requirements():
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        assert name in locked, name
        assert one.specifier.contains(locked[name].partition("+")[0]), name


def test_every_test_that_the_promises_name_is_there():
    page = ROOT / "docs" / "trust.md"
    links = set(re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")))
    assert len(links) > 9
    assert [link for link in links if not (page.parent / link).exists()] == []


# --- the wheel


def build_wheel(source, folder):
    program = (
        "import sys; from hatchling.builders.wheel import WheelBuilder; "
        "print(*WheelBuilder(sys.argv[1]).build(directory=sys.argv[2]))"
    )
    words = [sys.executable, "-c", program, str(source), str(folder)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=source)
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    info = f"deskull-{__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"deskull", info}
    package = {str(p.relative_to(ROOT / "src")) for p in bundled_folder().rglob("*.*")}
    assert package <= set(names)
    assert {"deskull/py.typed", f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= set(
        names
    )
    assert [name for name in names if name.endswith((".pyc", ".part", "~"))] == []
    assert wheel.stat().st_size < 40 * 2**20


@pytest.mark.slow
def test_two_builds_from_two_places_are_equal_byte_for_byte(wheel, tmp_path):
    ignore = shutil.ignore_patterns(".*", "shared", "__pycache__")
    copy = shutil.copytree(ROOT, tmp_path / "elsewhere", ignore=ignore, copy_function=shutil.copy)
    shutil.copy(ROOT / ".gitignore", copy)
    again = build_wheel(copy, tmp_path)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_what_is_in_the_wheel_strips_a_head(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import deskull; "
        "assert deskull.__file__.startswith(sys.argv[1]), deskull.__file__; "
        "from deskull.cli import run; sys.exit(run(['demo', sys.argv[2]]))"
    )
    words = [sys.executable, "-c", program, tmp_path / "site", tmp_path / "demo"]
    subprocess.run([str(word) for word in words], check=True, cwd=tmp_path, timeout=300)
    assert any(path.name.endswith("_mask.nii.gz") for path in (tmp_path / "demo").iterdir())
