"""What a release is made of says the same everywhere: versions, dates, links, workflows."""

import json
import re
import runpy
import shutil
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import urlparse

import pytest
import yaml
from packaging.requirements import Requirement

from deskull import __version__
from systems import BASH

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
WORKFLOWS = {path.name: path for path in (ROOT / ".github/workflows").glob("*.yml")}
PYTHONS = [
    text.rpartition(" ")[2] for text in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", text)
]


def read(path):
    return (ROOT / path).read_text("utf-8")


# --- versions and dates


def test_citation_changelog_and_package_name_one_version_and_date():
    citation = yaml.safe_load(read("CITATION.cff"))
    version, date = re.search(r"^## (\S+) \((\S+)\)$", read("CHANGELOG.md"), re.M).groups()
    assert version == citation["version"] == __version__
    assert date == citation["date-released"]


@pytest.mark.parametrize("path", sorted((ROOT / "deploy").rglob("*.json"), key=str))
def test_descriptors_in_deploy_name_this_version(path):
    found = json.loads(path.read_text("utf-8")).get("tool-version", __version__)
    assert found == __version__, f"{path}: {found}"


CONDA_NAMES = {"isal": "python-isal"}  # where conda-forge has another name


def test_the_recipe_for_conda_has_this_version_and_the_same_requirements():
    recipe = yaml.safe_load(read("deploy/conda/recipe.yaml"))
    assert recipe["context"]["version"] == __version__
    assert f">={recipe['context']['python_min']}" == PROJECT["requires-python"]
    wanted = {}
    for one in map(Requirement, PROJECT["dependencies"]):
        wanted[CONDA_NAMES.get(one.name, one.name)] = str(one.specifier)
    found = dict(line.split() for line in recipe["requirements"]["run"][1:])
    assert found == wanted
    points = dict(line.split(" = ") for line in recipe["build"]["python"]["entry_points"])
    assert points == PROJECT["scripts"]


def test_the_recipe_for_neurodesk_has_this_version_and_our_commands():
    recipe = yaml.safe_load(read("deploy/neurodesk/build.yaml"))
    assert recipe["version"] == __version__
    assert recipe["deploy"]["bins"] == list(PROJECT["scripts"])


def test_citation_and_archive_agree():
    archive, citation = json.loads(read(".zenodo.json")), yaml.safe_load(read("CITATION.cff"))
    assert archive["title"] == citation["title"]
    assert archive["license"] == citation["license"] == PROJECT["license"]
    assert archive["keywords"] == citation["keywords"]
    assert [one["name"] for one in archive["creators"]] == [
        one["name"] for one in citation["authors"]
    ]
    links = {one["identifier"] for one in archive["related_identifiers"]}
    assert links == {citation["repository-code"], citation["url"]}
    assert links <= set(PROJECT["urls"].values())


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
@BASH
def test_nothing_is_tagged_from_a_tree_with_changes(tmp_path):
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    command = ["bash", tmp_path / "deploy/tag.sh"]
    (tmp_path / "src/deskull").mkdir(parents=True)
    (tmp_path / "src/deskull/__init__.py").write_text('__version__ = "9.9.9"\n')
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tag.sh: the working tree has changes. Commit them first.\n"


# --- the page of the package index


@pytest.fixture(scope="module")
def shown():
    """Return the README as the package index gets it."""
    pytest.importorskip("hatchling")
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))["ReadmeHook"]
    metadata = {"name": PROJECT["name"], "urls": PROJECT["urls"]}
    hook(str(ROOT), {}).update(metadata)
    return metadata["readme"]["text"]


def test_every_link_of_the_index_page_is_absolute_or_an_anchor(shown):
    links = re.findall(r"\]\(([^)\s]+)", shown)
    assert len(links) > 5
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert "<img" not in shown or 'src="https://' in shown


def test_the_index_page_installs_by_name(shown):
    assert "pip install deskull && deskull demo" in shown
    assert "pip install . " not in shown


def test_links_of_the_index_page_into_the_repository_lead_to_files(shown):
    own = [link for link in re.findall(r"\]\(([^)\s#]+)", shown) if link.startswith(REPOSITORY)]
    own = [link for link in own if re.search("/(blob|raw)/", link)]
    assert own
    for link in own:
        kind, tag, *path = urlparse(link.removeprefix(REPOSITORY)).path.strip("/").split("/")
        assert tag == f"v{__version__}"
        assert ROOT.joinpath(*path).exists(), link
        assert (kind == "raw") == (path[-1].rpartition(".")[2] in ("png", "svg", "jpg", "webp"))


# --- workflows


def load_workflow(name):
    return yaml.safe_load(WORKFLOWS[name].read_text("utf-8"))


def list_steps(name):
    return [step for job in load_workflow(name)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_by_commit_and_may_read_only(name):
    text = WORKFLOWS[name].read_text("utf-8")
    used = re.findall(r"uses: (.*)", text)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert load_workflow(name)["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_targets_extras_and_files_that_workflows_use_are_there(name):
    targets = set(re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE))
    for line in (step["run"] for step in list_steps(name) if "run" in step):
        assert set(re.findall(r"\bmake (\w+)", line)) <= targets, line
        for extras in re.findall(r"'\.\[([\w,]+)\]'", line):
            assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
        for path in re.findall(r"-c (requirements[\w.-]+)|python (\w\S*\.py)", line):
            assert (ROOT / "".join(path)).exists(), line


@pytest.mark.parametrize(("name", "job"), [("tests.yml", "quick"), ("release.yml", "try")])
def test_every_python_that_we_support_is_tried_on_every_system(name, job):
    matrix = load_workflow(name)["jobs"][job]["strategy"]["matrix"]
    assert matrix["python"] == PYTHONS
    assert [system.partition("-")[0] for system in matrix["os"]] == ["ubuntu", "macos", "windows"]


def test_only_the_job_that_publishes_may_and_it_needs_the_others():
    jobs = load_workflow("release.yml")["jobs"]
    allowed = {name: job.get("permissions") for name, job in jobs.items()}
    assert allowed == {"build": None, "try": None, "publish": {"id-token": "write"}}
    assert (jobs["publish"]["needs"], jobs["try"]["needs"]) == ("try", "build")
    assert "secrets." not in WORKFLOWS["release.yml"].read_text("utf-8")


def test_hooks_before_a_commit_are_those_of_lint():
    hooks = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    lint = re.search(r"^lint:\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)[1]
    assert {hook["entry"].split()[0] for hook in hooks} == {
        line.split()[0] for line in lint.splitlines()
    }
