"""What is shipped and what it stands on: the wheel, its licences, and the lock file."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ball import HEAD, load
from deskull import __version__
from deskull.network.weights import bundled_folder
from licences import COPYLEFT, find_licence, find_packages

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCK = ROOT / "requirements-dev.lock"


def test_nothing_that_the_stripping_part_requires_is_copyleft():
    licences = {name: find_licence(name) for name in find_packages()}
    assert {"numpy", "nibabel", "onnxruntime"} <= set(licences)
    assert "" not in licences.values()
    assert {name: text for name, text in licences.items() if COPYLEFT.search(text)} == {}


def test_the_stripping_part_requires_no_learning_library():
    heavy = {"torch", "tensorflow", "pandas", "matplotlib", "simpleitk", "openvino", "h5py"}
    assert not heavy & set(find_packages())


def list_requirements(extra=None):
    """Requirements of an extra, those of the extras that it names in their place."""
    listed = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    for one in map(Requirement, listed):
        if one.name == PROJECT["name"]:
            for name in sorted(one.extras):
                yield from list_requirements(name)
        else:
            yield one


def test_every_extra_has_its_tools_in_the_development_environment():
    """Nothing that a user may install is left out of the tests, and nothing is listed twice."""
    extras = PROJECT["optional-dependencies"]
    (one,) = map(Requirement, extras["dev"])
    bundles = {name for name, listed in extras.items() if listed[0].startswith("deskull[")}
    assert one.extras == set(extras) - bundles


def test_every_requirement_has_a_lower_bound():
    listed = [*list_requirements(), *list_requirements("dev")]
    assert [str(one) for one in listed if not one.specifier] == []


def test_the_lock_file_holds_every_requirement_at_a_version_it_allows():
    lines = re.findall(r"^([\w.-]+)==([\w.+!-]+)", LOCK.read_text("utf-8"), re.MULTILINE)
    locked = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in lines}
    for one in [*list_requirements(), *list_requirements("dev")]:
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        assert name in locked, name
        assert one.specifier.contains(locked[name].partition("+")[0]), name


def test_every_test_that_the_promises_name_is_there():
    page = (ROOT / "docs/background/trust.md").read_text("utf-8")
    named = set(re.findall(r"`((?:tests|benchmarks)/\w+\.py)`", page))
    assert len(named) > 9
    assert [path for path in named if not (ROOT / path).exists()] == []


# --- the wheel


def build_wheel(source, folder):
    program = (
        "import sys; from hatchling.builders.wheel import WheelBuilder; "
        "print(*WheelBuilder(sys.argv[1]).build(directory=sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, str(source), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=source)
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    info, data = (f"deskull-{__version__}.{kind}" for kind in ("dist-info", "data"))
    assert {name.partition("/")[0] for name in names} == {"deskull", info, data}
    shared = {name.removeprefix(f"{data}/data/") for name in names if name.startswith(data)}
    assert shared == {
        "share/bash-completion/completions/deskull",
        "share/fish/vendor_completions.d/deskull.fish",
        "share/man/man1/deskull.1",
        "share/zsh/site-functions/_deskull",
    }
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
        "from deskull.cli import run; sys.exit(run(['demo', '-o', sys.argv[2]]))"
    )
    command = [sys.executable, "-c", program, tmp_path / "site", tmp_path / "demo"]
    subprocess.run([str(word) for word in command], check=True, cwd=tmp_path, timeout=300)
    assert any(path.name.endswith("_mask.nii.gz") for path in (tmp_path / "demo").iterdir())


# --- two versions side by side

OF_A_VERSION = """
import sys
sys.path.insert(0, sys.argv[1])
sys.path.append(sys.argv[2])
import deskull
assert deskull.__file__.startswith(sys.argv[1]), deskull.__file__
import ball
from deskull import stripper
stripper.make_engine = ball.make_ball_engine
sys.exit(ball.run("batch", "study", "-o", "out", *sys.argv[3:]))
"""


@pytest.fixture(scope="module")
def versions(wheel, tmp_path_factory):
    """Where this version and an older one with other weights are installed."""
    place = tmp_path_factory.mktemp("versions")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "source")
    old = place / "source" / "deskull"
    init = (old / "__init__.py").read_text("utf-8")
    (old / "__init__.py").write_text(init.replace(f'"{__version__}"', '"0.0.7"'), "utf-8")
    card = json.loads((old / "weights/default/card.json").read_text("utf-8"))
    (old / "weights/default/extra").write_bytes(b"of other weights")
    card["files"]["extra"] = hashlib.sha256(b"of other weights").hexdigest()
    (old / "weights/default/card.json").write_text(json.dumps(card), "utf-8")
    metadata = place / f"source/deskull-{__version__}.dist-info/METADATA"
    text = metadata.read_text("utf-8")
    metadata.write_text(text.replace(f"\nVersion: {__version__}", "\nVersion: 0.0.7"), "utf-8")
    metadata.parent.rename(place / "source/deskull-0.0.7.dist-info")
    shutil.make_archive(str(place / "old"), "zip", place / "source")
    other = (place / "old.zip").rename(place / "deskull-0.0.7-py3-none-any.whl")
    for version, made in ((__version__, wheel), ("0.0.7", other)):
        command = ["install", "-q", "--no-deps", "--no-index", "--no-compile", "--target"]
        command = [sys.executable, "-m", "pip", *command, place / version, made]
        subprocess.run([str(word) for word in command], check=True)
    return {version: place / version for version in (__version__, "0.0.7")}


def start(site, folder, *arguments):
    tests = Path(__file__).parent
    command = [sys.executable, "-c", OF_A_VERSION, str(site), str(tests), *arguments]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


def read_versions(folder):
    """Of each record: the version that it names, and the weights."""
    records = [json.loads(path.read_text("utf-8")) for path in (folder / "out").rglob("*.json")]
    assert [record["status"] for record in records] == ["done"] * 4
    return {(record["deskull"], record["weights"]["sha256"]) for record in records}


@pytest.mark.slow
def test_two_versions_work_on_one_folder_one_after_the_other_and_at_once(versions, tmp_path):
    (tmp_path / "study").mkdir()
    for number in range(4):
        HEAD.to_filename(tmp_path / f"study/{number}.nii.gz")
    digests = {}
    for version in ("0.0.7", __version__):  # other weights: all is stripped again
        with start(versions[version], tmp_path) as process:
            assert process.stderr.read().count("another run") == 0
        assert process.returncode == 0
        ((found, digests[version]),) = read_versions(tmp_path)
        assert found == version
    assert digests["0.0.7"] != digests[__version__]
    both = [start(site, tmp_path, "--force") for site in versions.values()]
    for process in both:
        process.communicate(timeout=300)
    assert [process.returncode for process in both] == [0, 0]
    assert read_versions(tmp_path) <= set(digests.items())
    masks = list((tmp_path / "out").glob("*_mask.nii.gz"))
    assert len({load(path).tobytes() for path in masks}) == 1
    assert list((tmp_path / "out").glob(".deskull*")) == []
