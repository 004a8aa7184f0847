"""Which scans a cohort run finds in inputs of all kinds, and how the outputs are named.

Which of the images found are not scans is tested in `test_cohort_search.py`.
"""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deskull.cohort.plan import Gap, Plan
from deskull.cohort.search import make_plan
from deskull.errors import InputError, OutputError


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Work in a folder with a study of empty files: a plan reads only names."""
    monkeypatch.chdir(tmp_path)
    for name in ("a/T1.nii.gz", "a/T2.mgz", "b/c/T1.nii", "b/T1.nrrd", "b/notes.txt"):
        touch(tmp_path / "study" / name)
    return tmp_path


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def names(*inputs, out="out"):
    return [task.name for task in make_plan(inputs, out)]


ALL = ["a/T1.nii.gz", "a/T2.mgz", "b/T1.nrrd", "b/c/T1.nii"]


# --- inputs


@pytest.mark.parametrize(
    "inputs",
    [
        ["study"],
        ["study/"],
        ["study/a", "study/b"],
        ["study", "study/a/T1.nii.gz"],
        ["study/*"],
        ["study/**/*"],
        ["study/a/*", "study/b/*1*", "study/b/c"],
    ],
)
def test_each_scan_is_found_once_however_it_is_named(study, inputs):
    assert names(*inputs) == ALL


def test_a_single_scan_is_named_without_its_folder(study):
    (task,) = make_plan(["study/b/c/T1.nii"], "out")
    assert task.name == "T1.nii"
    assert task.outputs == {
        "brain": study / "out/T1_brain.nii.gz",
        "mask": study / "out/T1_mask.nii.gz",
    }
    assert task.record == study / "out/T1_record.json"


def test_outputs_mirror_the_tree(study):
    tasks = make_plan(["study"], "out", ["mask", "picture", "record"])
    assert [task.outputs["picture"].relative_to(study).as_posix() for task in tasks] == [
        "out/a/T1_picture.png",
        "out/a/T2_picture.png",
        "out/b/T1_picture.png",
        "out/b/c/T1_picture.png",
    ]
    assert all(set(task.outputs) == {"mask", "picture"} for task in tasks)


def test_masks_hidden_files_and_the_output_folder_are_left_out(study):
    for name in ("a/T1_mask.nii.gz", ".git/annex/x.nii.gz", "b/.hidden.nii", "out/odd.nii"):
        touch(study / "study" / name)
    for inputs in ("study", "study/**/*"):
        plan = make_plan([inputs], "study/out")
        assert [task.name for task in plan] == ALL
        assert {gap.name: gap.reason for gap in plan.gaps} == {
            "a/T1_mask.nii.gz": "made from T1.nii.gz, by its name and grid",
            "b/.hidden.nii": "hidden: its name begins with a dot",
        }
        assert plan.ignored == "1 file that is not an image (.txt)"


def test_outputs_may_lie_beside_their_inputs(study):
    before = make_plan(["study"], "study")
    for task in before:
        for path in (*task.outputs.values(), task.record):
            touch(path)
    again = make_plan(["study"], "study")
    assert again.tasks == before.tasks
    assert len(again.gaps) == 2 * len(before)


def test_a_pair_is_one_scan(study):
    touch(study / "pair/x.hdr")
    touch(study / "pair/x.img")
    assert names("pair") == ["x.hdr"]
    assert names("pair/x.hdr", "pair/x.img") == ["x.hdr"]


def test_links_to_folders_are_followed_once(study):
    (study / "study/a/up").symlink_to(study / "study")
    (study / "linked").mkdir()
    (study / "linked/b").symlink_to(study / "study/b")
    assert names("study") == ALL
    assert names("linked") == ["b/T1.nrrd", "b/c/T1.nii"]


def test_a_link_without_content_is_a_scan(study):
    (study / "study/a/gone.nii.gz").symlink_to("../.git/annex/nothing")
    assert "a/gone.nii.gz" in names("study")


def test_paths_in_a_list_are_relative_to_its_folder_and_every_line_is_stripped(study):
    text = "# scans\na/T1.nii.gz\n\nmissing.nii\nodd_mask.nii\nb\n"
    (study / "study/list.txt").write_text(text)
    wanted = ["a/T1.nii.gz", "b/T1.nrrd", "b/c/T1.nii", "missing.nii", "odd_mask.nii"]
    assert names("study/list.txt") == wanted


@pytest.mark.parametrize(("name", "mark"), [("t.csv", ","), ("t.csv", ";"), ("t.tsv", "\t")])
def test_a_table_names_scans_and_outputs(study, name, mark):
    rows = [
        ["person", "in", "out", "mask"],
        ["1", "study/a/T1.nii.gz", "one/x.nii.gz", str(study / "elsewhere.mgz")],
        ["2", "study/a/T2.mgz", "two_brain.nii", ""],
        ["3", "study/b/T1.nrrd", "", ""],
    ]
    (study / name).write_text("\ufeff" + "\n".join(mark.join(row) for row in rows) + "\n\n")
    one, two, three = make_plan([name], "out", ["mask"])
    out = study / "out"
    assert one.outputs == {"mask": study / "elsewhere.mgz", "brain": out / "one/x.nii.gz"}
    assert one.record == out / "one/x_record.json"
    assert two.outputs == {"mask": out / "two_mask.nii.gz", "brain": out / "two_brain.nii"}
    assert three.outputs == {"mask": out / "b/T1_mask.nii.gz"}


def test_a_dicom_folder_can_be_named_in_a_table(study):
    (study / "t.csv").write_text("in\nstudy/a\n")
    (task,) = make_plan(["t.csv"], "out")
    assert (task.name, task.record) == ("a", study / "out/a_record.json")


# --- errors


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (["nope"], ["mask"], r"^nope: no such file or folder\.$"),
        (
            ["nope*.nii"],
            ["mask"],
            r"^nope\*.nii: no scan found; .*\.nii\.gz.* out: nothing\.",
        ),
        (
            ["empty"],
            ["mask"],
            r"^empty: no scan found; .* x.PAR \(an image .*\), 1 file that is not",
        ),
        (["study"], ["brains"], r"^output 'brains'; expected one of brain, mask, "),
        (["bare.csv"], ["mask"], r"^bare.csv: columns a, b; expected `in`"),
        (["void.csv"], ["mask"], r"^void.csv: columns none; expected `in`"),
        (["long.csv"], ["mask"], r"^long.csv: not a table \(field larger than field limit"),
        (["hole.csv"], ["mask"], r"^hole.csv, line 3: no path in column `in`\.$"),
        (["gone.txt"], ["mask"], r"gone.txt: cannot be read \(No such file or directory\)\.$"),
    ],
)
def test_wrong_inputs_are_errors_before_the_start(study, inputs, outputs, message):
    touch(study / "empty/x.PAR")
    touch(study / "empty/x.txt")
    touch(study / "void.csv")
    (study / "long.csv").write_text("in\n" + "x" * 200_000)
    (study / "gone.txt").symlink_to("nothing")
    (study / "bare.csv").write_text("a,b\n1,2\n")
    (study / "hole.csv").write_text("in,out\nx.nii,\n,y.nii\n")
    with pytest.raises(InputError, match=message):
        make_plan(inputs, "out", outputs)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("x.nii,o.png,", r"t.csv, line 2: out 'o.png'; expected a name that ends in .nii.gz"),
        ("x.nii,o.nii,o.nii", r"o.nii: .*x.nii would write it twice"),
        ("x.nii,{here}/x.nii,", r"x.nii: it is an input, and an input is never replaced"),
        ("x.nii,{here}/y.nii,\ny.nii,,", r"y.nii: it is an input, and an input is never"),
        ("x.img,{here}/x.hdr,", r"x.hdr: it is an input, and an input is never replaced"),
    ],
)
def test_outputs_that_would_replace_inputs_are_errors_before_the_start(study, rows, message):
    (study / "t.csv").write_text("in,out,mask\n" + rows.format(here=study) + "\n")
    with pytest.raises(OutputError, match=message):
        make_plan(["t.csv"], "out")


def test_scans_that_would_write_one_file_fail_and_the_others_are_stripped(study):
    touch(study / "study/a/T1.nii")
    plan = make_plan(["study"], "out")
    assert [task.name for task in plan] == ALL[1:]
    assert plan.gaps == [
        Gap(
            f"a/T1.nii{end}",
            "a/T1.nii and a/T1.nii.gz would write one file, T1_brain.nii.gz: none is stripped. "
            "Rename one.",
            failed=True,
        )
        for end in ("", ".gz")
    ]


def test_rows_of_a_table_with_the_same_output_are_named(study):
    (study / "t.csv").write_text("in,out\nx.nii,o.nii\ny.nii,o.nii.gz\nz.nii,\n")
    plan = make_plan(["t.csv"], "out")
    assert [task.name for task in plan] == ["z.nii"]
    assert [gap.name for gap in plan.gaps] == ["x.nii", "y.nii"]


def test_rows_that_differ_only_in_the_mask_are_not_dropped(study):
    (study / "t.csv").write_text("in,out,mask\nx.nii,o.nii,m.nii\nx.nii,o.nii,n.nii\nz.nii,,\n")
    plan = make_plan(["t.csv"], "out")
    assert [task.name for task in plan] == ["z.nii"]
    assert [(gap.name, gap.failed) for gap in plan.gaps] == [("x.nii", True)] * 2
    assert plan.gaps[0].reason.startswith("several rows of x.nii would write one file, o.nii: ")


def test_inputs_that_give_nothing_are_named(study):
    (study / "study/hollow/deep").mkdir(parents=True)
    (study / "out").mkdir()
    touch(study / "study/code/x.py")
    (study / "list.txt").write_text("study/code\n")
    (study / "void.txt").write_text("# nothing\n")
    (study / "void.tsv").write_text("in\tout\n")
    inputs = ["nope*.nii", "study/b", "study/hollow", "void.txt", "void.tsv", "out"]
    plan = make_plan([*inputs, "study/code"], "out")
    assert [(gap.name, gap.reason, gap.failed) for gap in plan.gaps] == [
        ("nope*.nii", "no file or folder matches", True),
        ("study/code", "no image in it", False),
        ("study/hollow", "no image in it", True),
        ("void.tsv", "no row below its first line", True),
        ("void.txt", "no path in it", True),
    ]
    (gap,) = make_plan(["study/b", "list.txt"], "out").gaps
    assert gap == Gap("code", "no image in it", failed=True)


def test_inputs_on_several_drives_are_refused(study, monkeypatch):
    def fail(paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(os.path, "commonpath", fail)
    with pytest.raises(InputError, match=r"the inputs lie on several drives; strip each drive"):
        make_plan(["study"], "out")


def test_a_folder_that_cannot_be_read_is_an_error(study, monkeypatch):
    scan = os.scandir

    def refuse(path):  # root may read every folder
        if os.fspath(path).endswith("a"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        with pytest.raises(InputError, match=r"a: a folder that cannot be read \(Permission"):
            make_plan(["study"], "out")


# --- shards


@given(st.lists(st.integers(), max_size=50), st.integers(1, 60))
def test_shards_are_disjoint_and_cover_the_plan(tasks, count):
    plan = Plan(tasks, tasks[::2])
    shards = [plan.take_shard(number, count) for number in range(1, count + 1)]
    assert sorted(gap for shard in shards for gap in shard.gaps) == sorted(tasks[::2])
    assert sorted(task for shard in shards for task in shard) == sorted(tasks)
    assert sum(len(shard) for shard in shards) == len(tasks)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("number", [0, 4])
def test_a_shard_out_of_range_is_an_error(number):
    with pytest.raises(InputError, match=rf"shard {number}/3; expected 1/3 to 3/3"):
        Plan([]).take_shard(number, 3)


def test_a_tilde_in_a_list_or_table_means_the_home_folder(study, monkeypatch):
    monkeypatch.setenv("HOME", str(study))
    monkeypatch.setenv("USERPROFILE", str(study))
    scan = next(path for path in sorted((study / "study").rglob("*.nii.gz")))
    line = f"~/{scan.relative_to(study).as_posix()}"
    (study / "list.txt").write_text(f"{line}\n")
    (study / "table.tsv").write_text(f"in\n{line}\n")
    for source in ("list.txt", "table.tsv"):
        assert [task.scan for task in make_plan([str(study / source)], "out")] == [scan]
