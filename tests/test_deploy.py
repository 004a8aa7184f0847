"""What lies in deploy/ and what the docs on pipelines show fits the deskull beside it."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from deskull import __version__, arguments
from deskull.cohort import queues
from deskull.outputs import OUTPUTS

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DESCRIPTOR = json.loads((DEPLOY / "boutiques/deskull.json").read_text("utf-8"))


def read(path):
    return (ROOT / path).read_text("utf-8")


def parse(words):
    """Options of a command line, as deskull would take it; a test fails if it would not."""
    program, *rest = words
    assert program in PROJECT["scripts"]
    if program == "deskull-bids":
        rest.insert(0, "bids")
    return vars(arguments.parse(rest))


# --- Boutiques


def test_what_is_made_from_the_table_of_outputs_is_up_to_date():
    generate = runpy.run_path(str(DEPLOY / "generate.py"))
    for path, content in generate["make_files"]().items():
        assert path.read_bytes() == content, "run: python deploy/generate.py"


EXAMPLES = {"String": "x.nii.gz", "File": "in.nii.gz", "Number": 1}


def test_the_descriptor_s_command_is_one_of_ours():
    line = DESCRIPTOR["command-line"]
    for given in DESCRIPTOR["inputs"]:
        value = "" if given["type"] == "Flag" else str(EXAMPLES[given["type"]])
        words = f"{given.get('command-line-flag', '')} {value}"
        assert given["value-key"] in line
        line = line.replace(given["value-key"], words)
    options = parse(shlex.split(line))
    assert options["names"] == ["in.nii.gz"]
    for row in OUTPUTS:
        assert options[row.option] == "x.nii.gz"
    for name in ("border", "fill", "threshold", "threads"):
        assert options[name] == 1
    assert (options["frame"], options["no_csf"], options["n4"]) == ("1", True, True)


def test_the_descriptor_is_of_this_version_and_its_outputs_are_named_by_its_inputs():
    assert DESCRIPTOR["tool-version"] == __version__
    keys = {given["value-key"] for given in DESCRIPTOR["inputs"]}
    assert {file["path-template"] for file in DESCRIPTOR["output-files"]} <= keys


@pytest.mark.skipif(find_spec("boutiques") is None, reason="no boutiques")
def test_the_descriptor_is_valid():
    from boutiques.validator import validate_descriptor

    validate_descriptor(DESCRIPTOR)


# --- containers


def test_the_images_are_made_of_files_that_are_there_and_none_is_kept_out():
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", read("deploy/Dockerfile"), re.MULTILINE)
    names = " ".join(copied).split()
    kept = re.findall(r"^!(\S+)$", read("deploy/Dockerfile.dockerignore"), re.MULTILINE)
    put = re.findall(r"^    (\S+) /src/\S+$", read("deploy/apptainer.def"), re.MULTILINE)
    assert sorted(names) == sorted(kept) == sorted(put)
    needed = {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "src"}
    assert set(names) == needed
    assert all((ROOT / name).exists() for name in names)


def test_the_images_install_as_the_readme_says_on_a_python_that_we_support():
    install = "/opt/deskull/bin/pip install --no-cache-dir ."
    assert "\npip install . " in read("README.md")
    for path, start in (("deploy/Dockerfile", "FROM "), ("deploy/apptainer.def", "From: ")):
        assert install in read(path)
        versions = re.findall(rf"^{start}python:(\S+)-slim\b", read(path), re.MULTILINE)
        assert versions
        for version in versions:
            assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


def test_the_images_start_commands_that_we_have():
    docker = json.loads(re.search(r"^ENTRYPOINT (.*)$", read("deploy/Dockerfile"), re.M)[1])
    apptainer = re.findall(r'^    exec (\S+) "\$@"$', read("deploy/apptainer.def"), re.MULTILINE)
    assert {*docker, *apptainer} == {"deskull", "deskull-bids"} == set(PROJECT["scripts"])


# --- SLURM


def test_the_array_s_command_is_one_of_ours():
    script = read("deploy/slurm/array.sh").replace("\\\n", " ")
    last = re.search(r"^#SBATCH --array=1-(\d+)$", script, re.MULTILINE)[1]
    line = re.search(r"^deskull .*$", script, re.MULTILINE)[0]
    for name, value in {
        "inputs": "study",
        "outputs": "brains",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_ARRAY_TASK_COUNT": last,
        "SLURM_CPUS_PER_TASK": "2",
    }.items():
        line = line.replace(f"${name}", value)
    options = parse(shlex.split(line))
    assert (options["shard"], options["threads"]) == ((3, int(last)), 2)
    assert (options["inputs"], options["out_dir"]) == (["study"], "brains")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_array_runs_a_deskull_of_its_environment(tmp_path):
    (tmp_path / "deskull/bin").mkdir(parents=True)
    (tmp_path / "deskull/bin/activate").write_text('PATH="$HOME/deskull/bin:$PATH"')
    (tmp_path / "deskull/bin/deskull").write_text('#!/bin/bash\nprintf "%s\\n" "$@"')
    (tmp_path / "deskull/bin/deskull").chmod(0o755)
    slurm = {"ARRAY_TASK_ID": "3", "ARRAY_TASK_COUNT": "50", "CPUS_PER_TASK": "2"}
    done = subprocess.run(
        ["bash", DEPLOY / "slurm/array.sh"],
        env=os.environ | {"HOME": str(tmp_path)} | {f"SLURM_{k}": v for k, v in slurm.items()},
        capture_output=True,
        text=True,
        check=True,
    )
    options = parse(["deskull", *done.stdout.split()])
    assert (options["shard"], options["inputs"]) == ((3, 50), [f"{tmp_path}/study"])


def test_the_file_of_jobs_is_right_also_with_the_lines_that_are_commented_out(tmp_path):
    text = read("deploy/slurm/jobs.toml")
    assert queues.read_queue(DEPLOY / "slurm/jobs.toml")["system"] == "slurm"
    (tmp_path / "all.toml").write_text(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    assert len(queues.read_queue(tmp_path / "all.toml")) > 10
