"""The BIDS App: names and sidecars of its outputs, and how other programs find them."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, list_files, read_json, run
from bids_study import app, study, write_json
from deskull.image.bids_names import parse_name
from deskull.outputs import list_outputs
from deskull.train.bids_layouts import find_bids
from studies import write_scan

__all__ = ["ball", "study"]
EVERYTHING = [row.name for row in list_outputs("bids")]


def outputs():
    found = (path.relative_to("out").as_posix() for path in Path("out").glob("sub-*/**/*.*"))
    return sorted(found)


def test_outputs_have_bids_names(study):
    args = ["--participant-label", "02", "--session-id", "A"]
    assert app(*args, "--outputs", *EVERYTHING) == 0
    stem, name = "sub-02/ses-A/anat/", "sub-02_ses-A_acq-hires_run-01_"
    assert f"sub-02/figures/{name}desc-brain_mask.svg" in outputs()
    assert Path(f"out/logs/sub-02/ses-A/{name}T1w_record.json").exists()
    stem += name
    assert [name.removeprefix(stem) for name in outputs() if name.startswith(stem)] == [
        "desc-brain_T1w.json",
        "desc-brain_T1w.nii.gz",
        "desc-brain_distance.json",
        "desc-brain_distance.nii.gz",
        "desc-brain_mask.json",
        "desc-brain_mask.nii.gz",
        "desc-brain_surface.surf.gii",
        "desc-preproc_T1w.json",
        "desc-preproc_T1w.nii.gz",
        "label-brain_probseg.json",
        "label-brain_probseg.nii.gz",
    ]
    assert not any("space-" in name for name in outputs())


def test_contrasts_with_the_same_entities_have_different_outputs(study):
    assert app("--suffix", "T1w", "T2w", "--participant-label", "01") == 0
    assert [name for name in outputs() if name.endswith(".nii.gz")] == [
        "sub-01/anat/sub-01_desc-brainT2w_mask.nii.gz",
        "sub-01/anat/sub-01_desc-brain_T1w.nii.gz",
        "sub-01/anat/sub-01_desc-brain_T2w.nii.gz",
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
    ]


def test_an_image_filtered_as_t1w_has_the_mask_name_of_t1w(study):
    write_scan(Path("raw/sub-01/anat/sub-01_UNIT1.nii.gz"))
    write_json("filter.json", {"t1w": {"suffix": "UNIT1"}})
    assert app("--bids-filter-file", "filter.json") == 0
    assert [name for name in outputs() if name.endswith(".nii.gz")] == [
        "sub-01/anat/sub-01_desc-brain_UNIT1.nii.gz",
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
    ]


def test_sidecars_describe_an_image_and_its_sources(study):
    assert app("--outputs", "brain", "mask", "probability", "--participant-label", "01") == 0
    folder, source = Path("out/sub-01/anat"), ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"]
    mask = read_json(folder / "sub-01_desc-brain_mask.json")
    assert (mask["Type"], mask["Sources"]) == ("Brain", source)
    brain = read_json(folder / "sub-01_desc-brain_T1w.json")
    assert (brain["SkullStripped"], brain["Sources"]) == (True, source)
    assert read_json(folder / "sub-01_label-brain_probseg.json")["Sources"] == source


def test_the_description_links_to_the_raw_data_set(study):
    write_json("raw/dataset_description.json", {"Name": "Heads", "DatasetDOI": "doi:10.1/x"})
    assert app() == 0
    fields = read_json(Path("out/dataset_description.json"))
    assert fields["DatasetType"] == "derivative"
    assert fields["GeneratedBy"][0]["Name"] == "deskull"
    assert fields["SourceDatasets"] == [{"URL": "https://doi.org/10.1/x", "DOI": "doi:10.1/x"}]
    assert fields["DatasetLinks"] == {"raw": "../raw"}
    assert "logs/" in Path("out/.bidsignore").read_text().splitlines()


def test_bidsignore_keeps_the_lines_of_users_and_earlier_versions(study):
    Path("out").mkdir()
    Path("out/.bidsignore").write_text("mine/\nlogs/")
    assert app() == 0
    lines = Path("out/.bidsignore").read_text().splitlines()
    assert lines[:2] == ["mine/", "logs/"]
    assert {"figures", "*_distance.*", "*.surf.gii"} < set(lines)
    assert app() == 0
    assert Path("out/.bidsignore").read_text().splitlines() == lines


def test_masks_are_on_the_grid_of_their_scan_and_inputs_stay(study):
    before = list_files(study / "raw")
    assert app() == 0
    mask = nib.load("out/sub-02/ses-B/anat/sub-02_ses-B_desc-brain_mask.nii.gz")
    assert mask.shape == HEAD.shape
    np.testing.assert_array_equal(mask.affine, HEAD.affine)
    assert list_files(study / "raw") == before


def test_the_query_of_smriprep_finds_the_mask_of_the_t1w_image(study):
    args = ["--suffix", "T1w", "T2w", "--participant-label", "01"]
    assert app(*args, "--outputs", "mask", "brain", "corrected") == 0
    # as in the specification that sMRIPrep and fMRIPrep ask --derivatives with
    query = {"sub": "01", "datatype": "anat", "space": None}
    mask = query | {"desc": "brain", "suffix": "mask"}
    assert find_by(mask) == ["sub-01_desc-brain_mask.nii.gz"]
    prepared = query | {"desc": "preproc", "suffix": "T1w"}
    assert find_by(prepared) == ["sub-01_desc-preproc_T1w.nii.gz"]


def test_the_queries_of_nibabies_find_the_masks_of_both_contrasts(study):
    args = ["--suffix", "T1w", "T2w", "--participant-label", "01"]
    assert app(*args, "--outputs", "mask", "--mask-names", "nibabies") == 0
    # as in its specification of what --derivatives may hold (t1w_mask, t2w_mask)
    query = {"sub": "01", "datatype": "anat", "desc": "brain", "suffix": "mask"}
    for space in ("T1w", "T2w"):
        stem = f"sub-01_space-{space}_desc-brain_mask"
        assert find_by(query | {"space": space}) == [f"{stem}.nii.gz"]
        sidecar = read_json(Path("out/sub-01/anat", f"{stem}.json"))
        assert sidecar["SpatialReference"] == f"bids:raw:sub-01/anat/sub-01_{space}.nii.gz"
    assert find_by(query | {"space": None}) == []


def test_figures_lie_where_bids_apps_look_for_them(study):
    assert app("--participant-label", "01", "--outputs", "mask", "picture") == 0
    (figure,) = Path("out").rglob("*.svg")
    assert figure.as_posix() == "out/sub-01/figures/sub-01_desc-brain_mask.svg"
    reports = pytest.importorskip("nireports.assembler.report")
    spec = Path(__file__).parents[1] / "deploy/nireports.yml"
    folder = Path("out").absolute()
    report = reports.Report(
        folder, "run", bootstrap_file=spec, reportlets_dir=folder, subject="01"
    )
    report.generate_report()
    assert "./sub-01/figures/sub-01_desc-brain_mask.svg" in report.out_filename.read_text("utf-8")


def find_by(query):
    """Files of the derivatives with these entities; None means without this entity."""
    found = []
    for path in sorted(Path("out").glob("sub-*/**/*.nii.gz")):
        name = parse_name(path)
        facts = {**name.entities, "datatype": path.parent.name, "suffix": name.suffix}
        if all(facts.get(key) == value for key, value in query.items()):
            found.append(path.name)
    return found


def test_pybids_finds_the_mask_as_smriprep_asks_for_it(study):
    layouts = pytest.importorskip("bids.layout")
    assert app("--suffix", "T1w", "T2w", "--participant-label", "01") == 0
    layout = layouts.BIDSLayout("out", config=["bids", "derivatives"], validate=False)
    query = {"datatype": "anat", "space": None, "desc": "brain", "suffix": "mask"}
    hits = layout.get(subject="01", extension=[".nii.gz", ".nii"], **query)
    assert [hit.filename for hit in hits] == ["sub-01_desc-brain_mask.nii.gz"]
    assert hits[0].get_metadata()["Type"] == "Brain"


@pytest.mark.slow
def test_the_bids_validator_finds_no_error(study):
    validator = pytest.importorskip("bids_validator_deno")
    everything = ("--suffix", "T1w", "T2w", "--outputs", *EVERYTHING)
    assert app(*everything, "--session-id", "B") == 0
    assert app(*everything, "--participant-label", "01", "--one-mask") == 0
    assert app(level="group") == 0
    found = subprocess.run(
        [Path(sys.executable).with_name("bids-validator-deno"), "out", "--format", "json"],
        capture_output=True,
        text=True,
    )
    issues = json.loads(found.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == [], validator


def test_the_training_index_pairs_each_contrast_with_its_own_mask(study):
    args = ["--suffix", "T1w", "T2w", "--participant-label", "01"]
    assert run("bids", "raw", "raw/derivatives/deskull", "participant", *args) == 0
    files = [path.absolute() for path in Path("raw/derivatives").rglob("sub-*.nii.gz")]
    files += [path.absolute() for path in Path("raw/sub-01").rglob("*w.nii.gz")]
    candidates, _ = find_bids(study / "raw", files)
    found = {
        pair.contrast: [mask.name for mask in pair.masks] for pair in candidates if pair.masks
    }
    assert found == {
        "T1w": ["sub-01_desc-brain_mask.nii.gz"],
        "T2w": ["sub-01_desc-brainT2w_mask.nii.gz"],
    }


def test_a_report_of_the_raw_data_set_is_refused(study, capsys):
    args = ["--participant-label", "01"]
    assert run("bids", "raw", "raw/derivatives/deskull", "participant", *args) == 0
    assert run("report", "raw") == 1
    assert "Give raw/derivatives/deskull." in capsys.readouterr().err
    assert not Path("raw/deskull_report.html").exists()
    assert run("report", "raw/derivatives/deskull") == 0
