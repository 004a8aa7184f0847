"""deskull as a step of pipelines: the parser accepts the command lines of Nipype and Pydra."""

import json
import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

os.environ.update(
    NO_ET="1", NIPYPE_NO_ET="1"
)  # else Nipype and Pydra look for new versions on the web

from deskull import __version__, commands
from deskull.demo import load_demo
from deskull.image.writing import save_image
from deskull.outputs import OUTPUTS

nipype = pytest.importorskip("deskull.interfaces.nipype")
pydra = pytest.importorskip("deskull.interfaces.pydra")
PYDRA_1 = find_spec("pydra.compose") is not None

INPUTS = {  # input of the interface -> its value, and the parsed options
    "border": (1.5, {"border": 1.5}),
    "no_csf": (True, {"no_csf": True}),
    "fill": (-5.0, {"fill": -5.0}),
    "threshold": (0.4, {"threshold": 0.4}),
    "n4": (True, {"n4": True}),
    "frame": (3, {"frame": "3"}),
    "series": ("3.2", {"series": "3.2"}),
    "device": ("cpu", {"device": "cpu"}),
    "weights": ("default", {"weights": "default"}),
    "num_threads": (2, {"threads": 2}),
}


@pytest.fixture
def scan(tmp_path, monkeypatch):
    """An empty file in the working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sub-01_T1w.nii.gz"
    path.touch()
    return path


@pytest.fixture
def head(scan, monkeypatch):
    """The same file with a head of 4.5 mm voxels, and no `deskull` on the path."""
    monkeypatch.setenv("PATH", os.defpath)
    demo = load_demo()[0]
    data = np.ascontiguousarray(demo.data[::3, ::3, ::3]).astype(np.int16)
    save_image(nib.Nifti1Image(data, demo.grid.affine @ np.diag([3, 3, 3, 1])), scan)
    return scan


def parse(command_line):
    program, *arguments = shlex.split(command_line)
    assert [program, arguments.pop(0), arguments.pop(0)] == [sys.executable, "-m", "deskull"]
    return vars(commands.parse(arguments))


def list_names(fields, others):
    return sorted(set(fields) - set(others))


def list_outputs(strip):
    """Return those outputs of an interface of Nipype that have a value."""
    found = strip._list_outputs()
    return {name: value for name, value in found.items() if nipype.isdefined(value)}


def find_command(scan, **inputs):
    """Return the command line of a task of Pydra."""
    if PYDRA_1:
        return pydra.Strip(image=scan, **inputs).cmdline
    return pydra.Strip(image=scan, cache_dir=scan.parent / "cache", **inputs).cmdline


def list_pydra_inputs():
    if PYDRA_1:
        from pydra.utils import get_fields

        names = {field.name for field in get_fields(pydra.Strip)}
        return names - {"executable", "append_args"}  # every task of Pydra has these
    return [field[0] for field in pydra.Strip.input_spec.fields]


def run_pydra(scan):
    if PYDRA_1:
        return pydra.Strip(image=scan)(cache_root=scan.parent / "cache", worker="debug")
    return pydra.Strip(image=scan, cache_dir=scan.parent / "cache")().output


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_of_nipype_reach_the_command(scan, name):
    value, expected = INPUTS[name]
    options = parse(nipype.Strip(in_file=scan, **{name: value}).cmdline)
    assert expected.items() <= options.items()


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_of_pydra_reach_the_command(scan, name):
    value, expected = INPUTS[name]
    options = parse(find_command(scan, **{name: value}))
    assert expected.items() <= options.items()


def test_every_input_is_among_those_tested(scan):
    files = [name for name in nipype.StripInputSpec().get() if name.endswith("_file")]
    names = list_names(nipype.StripInputSpec().get(), [*files, "args", "environ"])
    assert names == sorted(INPUTS)
    outputs = [row.name for row in OUTPUTS]
    names = list_names(list_pydra_inputs(), ["image", *outputs])
    assert names == sorted(INPUTS)


REQUESTED = {
    "probability": "p.nii",
    "distance": "d.nii",
    "corrected": "c.nii",
    "surface": "s.surf.gii",
    "picture": "p.png",
    "record": "r.json",
}


def test_outputs_of_nipype_are_named_after_the_scan(scan):
    strip = nipype.Strip(
        in_file=scan, **{f"{name}_file": file for name, file in REQUESTED.items()}
    )
    usual = {"out": "sub-01_T1w_brain.nii.gz", "mask": "sub-01_T1w_mask.nii.gz"}
    expected = usual | REQUESTED
    options = parse(strip.cmdline)
    outputs = {name: Path(path).name for name, path in list_outputs(strip).items()}
    assert outputs == {f"{name}_file": file for name, file in expected.items()}
    assert options["names"] == [str(scan)]
    assert expected == {name: options[name] for name in expected}


def test_outputs_of_pydra_are_named_after_the_scan_where_requested_or_default(scan):
    default = parse(find_command(scan))
    requested = parse(find_command(scan, **dict.fromkeys(REQUESTED, True)))
    for row in OUTPUTS:
        usual = f"sub-01_T1w{row.ending}"
        given, written = default[row.option], row.usual or row.name == "record"
        assert Path(requested[row.option]).name == usual
        assert (given and Path(given).name) == (usual if written else None)


def test_nipype_knows_the_version(scan):
    assert nipype.Strip(in_file=scan).version == __version__


def test_a_folder_of_dicom_is_an_input_of_nipype(scan, tmp_path):
    (tmp_path / "3_mprage").mkdir()
    options = parse(nipype.Strip(in_file=tmp_path / "3_mprage", series="3").cmdline)
    assert options["names"] == [str(tmp_path / "3_mprage")]
    assert (options["out"], options["series"]) == ("3_mprage_brain.nii.gz", "3")


def test_nipype_reads_score_flags_and_volume_from_the_record(scan):
    strip = nipype.Strip(in_file=scan)
    assert not {"score", "flags", "volume_ml"} & set(list_outputs(strip))
    record = {"input": {"path": "a.nii"}, "score": 61, "volume_ml": 1500.5}
    record["flags"] = [{"name": "cut", "sentence": "the brain meets the edge"}]
    Path("sub-01_T1w_record.json").write_text(json.dumps(record))
    outputs = list_outputs(strip)
    assert (outputs["score"], outputs["volume_ml"], outputs["flags"]) == (61, 1500.5, ["cut"])


def test_a_nipype_node_declares_cores_and_memory(scan):
    node = nipype.make_node(in_file=scan, num_threads=3)
    assert (node.name, node.n_procs, node.mem_gb) == ("deskull", 3, nipype.MEMORY_GB)
    assert nipype.make_node(in_file=scan).n_procs == 1
    assert parse(nipype.Strip(in_file=scan).cmdline)["threads"] == 1


@pytest.mark.slow
def test_a_nipype_node_runs(head):
    node = nipype.make_node(in_file=head, record_file="r.json")
    node.base_dir = str(head.parent)
    outputs = node.run().outputs
    assert np.asarray(nib.load(outputs.mask_file).dataobj).sum() > 1000
    assert 0 <= outputs.score <= 100
    assert outputs.volume_ml > 500
    assert all(isinstance(name, str) for name in outputs.flags)
    for path, name in [
        (outputs.out_file, "sub-01_T1w_brain.nii.gz"),
        (outputs.mask_file, "sub-01_T1w_mask.nii.gz"),
        (outputs.record_file, "r.json"),
    ]:
        assert Path(path) == head.parent / "deskull" / name


@pytest.mark.slow
def test_a_pydra_task_runs(head):
    output = run_pydra(head)
    assert np.asarray(nib.load(output.mask).dataobj).sum() > 1000
    assert Path(output.brain).name == "sub-01_T1w_brain.nii.gz"
