"""The files of deploy/ and the examples of pipelines in the docs fit this version of deskull."""

import json
import os
import re
import runpy
import shlex
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from deskull import commands
from deskull.cohort import queues
from deskull.outputs import OUTPUTS
from systems import BASH

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DESCRIPTOR, OF_BIDS = (
    json.loads((DEPLOY / "boutiques" / name).read_text("utf-8"))
    for name in ("deskull.json", "deskull-bids.json")
)


def read(path):
    return (ROOT / path).read_text("utf-8")


def parse(arguments):
    """Parse a command line as deskull does."""
    program, *rest = arguments
    assert program in PROJECT["scripts"]
    if program == "deskull-bids":
        rest.insert(0, "bids")
    return vars(commands.parse(rest))


# --- Boutiques


def test_generated_files_are_up_to_date():
    generate = runpy.run_path(str(DEPLOY / "generate.py"))
    for path, content in generate["make_files"]().items():
        assert path.read_bytes() == content, "run: python deploy/generate.py"


EXAMPLES = {"String": "x.nii.gz", "File": "in.nii.gz", "Number": 1}


def test_the_parser_accepts_the_command_of_the_descriptor():
    line = DESCRIPTOR["command-line"]
    for given in DESCRIPTOR["inputs"]:
        value = "" if given["type"] == "Flag" else str(EXAMPLES[given["type"]])
        argument = f"{given.get('command-line-flag', '')} {value}"
        assert given["value-key"] in line
        line = line.replace(given["value-key"], argument)
    options = parse(shlex.split(line))
    assert options["names"] == ["in.nii.gz"]
    for row in OUTPUTS:
        assert options[row.option] == "x.nii.gz"
    for name in ("border", "fill", "threshold", "threads"):
        assert options[name] == 1
    assert (options["frame"], options["no_csf"], options["n4"]) == ("1", True, True)


def test_the_parser_accepts_every_option_of_the_descriptor_of_the_bids_app():
    line = OF_BIDS["command-line"]
    for given in OF_BIDS["inputs"]:
        value = given.get("value-choices", [EXAMPLES.get(given["type"], "")])[0]
        line = line.replace(
            given["value-key"], f"{given.get('command-line-flag', '')} {value}".strip()
        )
    options = parse(shlex.split(line))
    assert (options["bids_dir"], options["out_dir"]) == ("in.nii.gz", "x.nii.gz")
    assert (options["level"], options["orientation"]) == ("participant", "native")
    assert options["participant_label"] == options["suffix"] == ["x.nii.gz"]
    assert (options["threads"], options["one_mask"], options["border"]) == (1, True, 1.0)


@pytest.mark.parametrize("descriptor", [DESCRIPTOR, OF_BIDS], ids=lambda one: one["name"])
def test_a_descriptor_s_outputs_are_named_by_its_inputs(descriptor):
    keys = {given["value-key"] for given in descriptor["inputs"]}
    assert {file["path-template"] for file in descriptor["output-files"]} <= keys


@pytest.mark.skipif(find_spec("boutiques") is None, reason="no boutiques")
@pytest.mark.parametrize("descriptor", [DESCRIPTOR, OF_BIDS], ids=lambda one: one["name"])
def test_a_descriptor_is_valid(descriptor):
    from boutiques.validator import validate_descriptor

    validate_descriptor(descriptor)


# --- containers


def test_the_containers_copy_files_that_exist_and_are_not_ignored():
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", read("deploy/Dockerfile"), re.MULTILINE)
    names = " ".join(copied).split()
    kept = re.findall(r"^!(\S+)$", read("deploy/Dockerfile.dockerignore"), re.MULTILINE)
    put = re.findall(r"^    (\S+) /src/\S+$", read("deploy/apptainer.def"), re.MULTILINE)
    assert sorted(names) == sorted(kept) == sorted(put)
    needed = {"README.md", *PROJECT["license-files"], "pyproject.toml", "hatch_build.py", "src"}
    assert set(names) == needed
    assert all((ROOT / name).exists() for name in names)


def test_the_containers_install_as_the_readme_says_on_a_supported_python():
    install = "/opt/deskull/bin/pip install --no-cache-dir ."
    assert "\npip install . " in read("README.md")
    bases = []
    for path, start in (("deploy/Dockerfile", "ARG BASE="), ("deploy/apptainer.def", "From: ")):
        assert install in read(path)
        found = rf"^{start}(python:(3\.\d+)\.\d+-slim-\w+@sha256:[0-9a-f]{{64}})$"
        base, version = re.search(found, read(path), re.MULTILINE).groups()
        assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
        bases.append(base)
    assert len(set(bases)) == 1


def test_the_containers_start_commands_of_the_package():
    docker = json.loads(re.search(r"^ENTRYPOINT (.*)$", read("deploy/Dockerfile"), re.M)[1])
    apptainer = re.findall(r'^    exec (\S+) "\$@"$', read("deploy/apptainer.def"), re.MULTILINE)
    assert {*docker, *apptainer} == {"deskull", "deskull-bids"} == set(PROJECT["scripts"])


# --- SLURM


def test_the_parser_accepts_the_command_of_the_job_array():
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


@BASH
def test_the_job_array_runs_deskull_of_its_environment(tmp_path):
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


def test_the_cluster_file_is_valid_with_the_commented_lines_as_well(tmp_path):
    text = read("deploy/slurm/jobs.toml")
    assert queues.read_job_file(DEPLOY / "slurm/jobs.toml")["system"] == "slurm"
    (tmp_path / "all.toml").write_text(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    assert len(queues.read_job_file(tmp_path / "all.toml")) > 10
