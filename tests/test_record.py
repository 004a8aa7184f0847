"""The record of a scan: what is written, what is read of it, and what is read of older ones."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from deskull.cohort.plan import Task
from deskull.cohort.records import is_done, make_request, read_record
from deskull.cohort.table import make_outcome
from deskull.errors import OutputError
from deskull.image.fingerprint import make_fingerprint
from deskull.image.padding import Padding
from deskull.measure.quality import Flag
from deskull.record import (
    SCHEMA,
    CorrectedMask,
    InputScan,
    OutputFile,
    Record,
    Request,
    RequestedSettings,
    WeightsName,
    load_record,
    save_records,
)
from deskull.settings import BiasSettings, Settings
from deskull.typed_json import make_schema

DIGEST = "8583f8f7823b5ae1681306bdf9377b80d99834131140ad480ebbde36644e8615"

SCHEMA_0 = {  # as deskull 0.1.0 wrote it before records had a version
    "status": "done",
    "deskull": "0.1.0",
    "weights": {"name": "default", "sha256": DIGEST},
    "runtime": "openvino 2026.4.1",
    "device": "cpu",
    "threads": 2,
    "settings": {"threshold": 0.5, "border": 0.0, "csf": True, "n4": None},
    "input": {
        "path": "p1/T1w.nii.gz",
        "file": "../../study/p1/T1w.nii.gz",
        "bytes": 1066259,
        "modified": 1795940398007537367,
        "sha256": "9f2e95c65b9982e2c82a0a0d9a15da260e1613136686cb5719000ba6649ad682",
        "shape": [112, 152, 184],
        "voxel_size": [1.5, 1.5, 1.5],
        "orientation": "RAS",
        "frame": None,
        "notes": [],
        "padding": None,
    },
    "volume_ml": 1164.807,
    "score": 93,
    "flags": [{"name": "asymmetric", "sentence": "20% of the mask have no counterpart."}],
    "traits": {"ml": 1165.0, "rim_mm": 1.722},
    "steps": {"locate": 0.3534, "segment": 0.7608},
    "outputs": {
        "mask": {
            "path": "T1w_mask.nii.gz",
            "bytes": 35654,
            "modified": 1795940410930285013,
            "sha256": "4bc49a4897a668c399357a7011f7e0ddff2d66e648e0f607c27a0e7b3e200108",
        }
    },
    "request": {
        "settings": {
            "threshold": 0.5,
            "border": 0.0,
            "csf": True,
            "n4": None,
            "fill": "nan",
            "frame": None,
            "orientation": "native",
        },
        "weights": DIGEST,
    },
    "finished": "2026-11-29T08:20:10Z",
    "seconds": {"read": 0.02, "strip": 1.48, "save": 0.05},
}

RECORD = Record(
    status="done",
    deskull="0.2.0",
    weights=WeightsName("default", DIGEST),
    settings=Settings(border=1.0, n4=BiasSettings(), fill=float("inf")),
    input=InputScan(
        path="a.nii", sha256="0" * 64, shape=(4, 5, 6), padding=Padding((-1000.0,), 12), frame=3
    ),
    volume_ml=1200.0,
    score=88,
    flags=(Flag("volume", "The mask is small."),),
    traits={"ml": 1200.0},
    outputs={"mask": OutputFile(path="a_mask.nii.gz", bytes=7, modified=8, sha256="1" * 64)},
    request=Request(RequestedSettings(n4=True, frame=2), DIGEST, "b.nii"),
    corrected=CorrectedMask(file="a_mask_manual.nii.gz", volume_ml=1180.0, bytes=9),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x_record.json"


def write(path, **fields):
    path.write_text(json.dumps(SCHEMA_0 | fields), "utf-8")
    return load_record(path)


def test_what_is_written_is_read_again(path):
    save_records([RECORD], path)
    assert load_record(path) == RECORD


def test_what_is_written_obeys_the_published_schema(path):
    save_records([RECORD], path)
    folder = Path(__file__).parents[1] / "docs" / "reference" / "schemas"
    schema = json.loads((folder / "record.schema.json").read_text("utf-8"))
    content = json.loads(path.read_text("utf-8"))
    assert content["schema"] == SCHEMA
    Draft202012Validator(schema).validate(content)
    for wrong in ({"score": 101}, {"status": "maybe"}, {"flags": "none"}, {"input": None}):
        assert not Draft202012Validator(schema).is_valid(content | wrong), wrong


def test_every_field_of_the_schema_says_what_it_is():
    schema = make_schema(Record, "")
    parts = [schema, *schema["$defs"].values()]
    bare = [name for one in parts for name, p in one["properties"].items() if not p["description"]]
    assert bare == []


def test_a_record_of_schema_0_is_read(path):
    record = write(path)
    assert record.schema == 0
    assert record.input.shape == (112, 152, 184)
    assert record.settings == Settings()
    assert record.flags == (Flag("asymmetric", "20% of the mask have no counterpart."),)
    assert (record.final_ml, record.mask_kind) == (1164.807, "automatic")
    assert record.outputs["mask"].bytes == 35654
    assert (record.mask_of, record.corrected) == (None, None)


def test_a_scan_that_schema_0_calls_done_is_not_stripped_again(tmp_path):
    scan, out = tmp_path / "T1w.nii.gz", tmp_path / "out"
    out.mkdir()
    scan.write_bytes(b"a scan")
    mask = out / "T1w_mask.nii.gz"
    mask.write_bytes(b"a mask")
    task = Task("T1w.nii.gz", scan, {"mask": mask}, out / "T1w_record.json")
    written = {"path": "T1w_mask.nii.gz", **vars(make_fingerprint(mask))}
    given = SCHEMA_0["input"] | vars(make_fingerprint(scan))
    write(task.record, input=given, outputs={"mask": written})
    assert is_done(task, make_request(Settings(fill=float("nan")), DIGEST))
    assert not is_done(task, make_request(Settings(fill=0.0), DIGEST))
    assert not is_done(task, make_request(Settings(fill=float("nan"), n4=True), DIGEST))
    assert make_outcome(task, read_record(task)).flags == ("asymmetric",)


def test_a_corrected_mask_counts_in_schema_0_as_well(path):
    corrected = {"file": "m.nii.gz", "volume_ml": 1100.5, "bytes": 1, "modified": 2, "sha256": ""}
    record = write(path, corrected=corrected)
    assert (record.final_ml, record.mask_kind) == (1100.5, "corrected")


def test_a_newer_record_is_read_but_never_rewritten_in_part(path):
    record = write(path, schema=SCHEMA + 1, surprise={"x": 1}, weights={"name": "w"})
    assert (record.schema, record.score, record.weights) == (SCHEMA + 1, 93, None)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=f"a record of schema {SCHEMA + 1}; this deskull"):
        save_records([replace(record, score=1)], path)
    assert path.read_bytes() == before


def test_an_old_record_is_rewritten_in_the_schema_of_today(path):
    save_records([write(path)], path)
    assert json.loads(path.read_text("utf-8"))["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("fields", "name", "wanted"),
    [
        ({"score": "high"}, "score", None),
        ({"score": True}, "score", None),
        ({"score": 10**400}, "score", None),
        ({"volume_ml": float("nan")}, "volume_ml", None),
        ({"flags": ["x", {"name": "a", "sentence": "b"}]}, "flags", (Flag("a", "b"),)),
        ({"seconds": {"read": 1, "strip": "long"}}, "seconds", {"read": 1.0}),
        ({"settings": {"threshold": 7}}, "settings", None),
        ({"outputs": {"mask": {"path": 7}, "brain": 3}}, "outputs", {}),
        ({"request": {"settings": {"sharpness": 3}, "weights": DIGEST}}, "request", None),
        ({"request": {"settings": {"border": "wide"}, "weights": DIGEST}}, "request", None),
        ({"status": "perhaps"}, "status", None),
    ],
)
def test_what_is_damaged_counts_as_missing(path, fields, name, wanted):
    record = write(path, **fields)
    assert getattr(record, name) == wanted
    assert record.runtime == SCHEMA_0["runtime"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "{}", '{"input": 3}', '{"input": null}'])
def test_what_is_no_record_is_none(path, text):
    path.write_text(text)
    assert load_record(path) is None
