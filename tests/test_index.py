"""The index: what holds and what is left out, the table on disk, the contact sheet."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from conftest import make_head
from index_files import SHAPE, names, nfbs, whats, write, write_mask, write_text
from train_heads import make_label_map

pd = pytest.importorskip("pandas")

from deskull import cli
from deskull.errors import InputError
from deskull.picture import OUTLINE, ROWS_OF_SHEET
from deskull.train.checking import save_sheets
from deskull.train.index import COLUMNS, describe_index, load_index, make_index, save_index

__all__ = ["nfbs"]


def read_picture(path):
    with Image.open(path) as image:
        return np.asarray(image)


# ---- what is left out


BROKEN = {
    "no-image": lambda image, mask: image.unlink(),
    "no-mask": lambda image, mask: mask.unlink(),
    "empty-mask": lambda image, mask: write_mask(mask, empty=True),
    "unreadable": lambda image, mask: image.write_bytes(image.read_bytes()[:100]),
    "grids-differ": lambda image, mask: write_mask(mask, shape=(6, 7, 7)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_files_are_reported_and_left_out(nfbs, what):
    stem = nfbs / "A000A2" / "sub-A2_ses-NFB3_T1w"
    image = stem.with_name(f"{stem.name}.nii.gz")
    BROKEN[what](image, stem.with_name(f"{stem.name}_brainmask.nii.gz"))
    index, findings = make_index(nfbs)
    assert list(index["participant"]) == ["sub-A1", "sub-A3"]
    assert what in [finding.what for finding in findings if "A2" in finding.where.name]
    assert len(findings) == 2


@pytest.mark.parametrize(
    ("voxel_size", "message"), [(2.0, "shape"), (3.0, "mm from those of")], ids=["shape", "affine"]
)
def test_different_grids_are_reported_with_their_values(tmp_path, voxel_size, message):
    write(tmp_path / "a.nii.gz")
    shape = (6, 7, 7) if voxel_size == 2 else SHAPE
    write_mask(tmp_path / "a_mask.nii.gz", shape, voxel_size)
    _, (finding,) = make_index(tmp_path)
    assert finding.what == "grids-differ"
    assert message in finding.why


def test_an_unreadable_mask_is_reported_without_repeating_its_name(tmp_path):
    write(tmp_path / "a.nii.gz")
    write_text(tmp_path / "a_mask.nii.gz", "no image")
    _, (finding,) = make_index(tmp_path)
    assert (finding.where.name, finding.what) == ("a_mask.nii.gz", "unreadable")
    assert not finding.why.startswith("a_mask")


def test_a_full_mask_is_no_mask(tmp_path):
    write(tmp_path / "a.nii.gz")
    write(tmp_path / "a_mask.nii.gz", values=np.ones(SHAPE, np.uint8))
    index, (finding,) = make_index(tmp_path)
    assert index.empty
    assert "every voxel is 1" in finding.why


def test_a_link_without_content_is_named(tmp_path):
    write(tmp_path / "a.nii.gz")
    (tmp_path / "a_mask.nii.gz").symlink_to(".git/annex/objects/gone")
    _, (finding,) = make_index(tmp_path)
    assert "git annex get" in finding.why


# ---- duplicates


def test_the_same_voxels_are_kept_once_however_they_are_stored(tmp_path):
    values = np.random.default_rng(0).integers(1, 1000, SHAPE).astype(np.int16)
    image = nib.Nifti1Image(values, np.diag([2, 2, 2, 1]))
    nib.save(image, tmp_path / "a.nii.gz")
    turned = nib.Nifti1Image(values.astype(np.float64), image.affine).as_reoriented(
        np.array([[2, -1], [0, 1], [1, -1]])
    )
    nib.save(turned, tmp_path / "b.nii")
    write_mask(tmp_path / "a_mask.nii.gz")
    mask = nib.load(tmp_path / "a_mask.nii.gz")
    nib.save(mask.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]])), tmp_path / "b_mask.nii")
    index, (finding,) = make_index(tmp_path)
    assert names(index, "image") == ["a.nii.gz"]
    assert (finding.where.name, finding.what) == ("b.nii", "duplicate")
    assert "a.nii.gz" in finding.why


def test_of_duplicates_the_one_with_a_manual_mask_is_kept(tmp_path):
    for name, word in (("a", "mask"), ("b", "mask_manual")):
        write(tmp_path / f"{name}.nii", values=np.arange(np.prod(SHAPE)).reshape(SHAPE) * 1.0)
        write_mask(tmp_path / f"{name}_{word}.nii")
    index, (finding,) = make_index(tmp_path)
    assert names(index, "image") == ["b.nii"]
    assert finding.where.name == "a.nii"


# ---- label maps


def test_label_maps_are_distinguished_from_scans_without_masks(tmp_path):
    nib.save(make_label_map(32, 6.0), tmp_path / "head-01.nii.gz")
    write(tmp_path / "b.nii.gz")
    write(tmp_path / "c.nii.gz", values=np.random.default_rng(0).integers(0, 256, SHAPE) * 1.0)
    write_text(tmp_path / "d.nii.gz", "no image")
    index, findings = make_index(tmp_path)
    assert list(index["participant"]) == ["head-01"]
    assert names(index, "label_map") == ["head-01.nii.gz"]
    assert list(index["image"]) == [""]
    assert whats(findings, tmp_path) == [
        ("b.nii.gz", "no-mask"),
        ("c.nii.gz", "no-mask"),
        ("d.nii.gz", "unreadable"),
    ]


# ---- tables


def test_an_index_comes_back_as_it_was_saved(nfbs, tmp_path):
    nib.save(make_label_map(32, 6.0), nfbs / "head.nii.gz")
    index, _ = make_index(nfbs)
    assert len(index) == 4
    folder = tmp_path / "tables" / "here"
    folder.mkdir(parents=True)
    for name in ("index.tsv", "index.csv", "INDEX.CSV", "index.Tsv"):
        save_index(index, folder / name)
        pd.testing.assert_frame_equal(load_index(folder / name), index)
    text = (folder / "index.tsv").read_text("utf-8")
    assert str(tmp_path) not in text
    assert "../../A000A1/" in text


def test_an_index_moves_with_its_folder(nfbs, tmp_path):
    save_index(make_index(nfbs)[0], nfbs / "index.tsv")
    moved = nfbs.rename(tmp_path.with_name("moved"))
    assert load_index(moved / "index.tsv")["image"].map(os.path.exists).all()


def test_paths_stay_absolute_where_none_leads_from_the_table(nfbs, monkeypatch):
    index, _ = make_index(nfbs)
    monkeypatch.setattr("os.path.relpath", refuse)
    save_index(index, nfbs / "index.tsv")
    monkeypatch.undo()
    pd.testing.assert_frame_equal(load_index(nfbs / "index.tsv"), index)


def refuse(path, start):
    raise ValueError(f"no way from {start} to {path}")  # as between drives


def test_a_table_made_by_hand_is_read_and_checked(tmp_path):
    image = write(tmp_path / "p1_T2w.nii.gz")
    write_mask(tmp_path / "odd.nii.gz")
    write(tmp_path / "p2_T1w.nii.gz")
    table = write_text(
        tmp_path / "pairs.csv",
        f"image,mask,participant,brain,site\n{image},odd.nii.gz,,n/a,A\np2_T1w.nii.gz,gone.nii,x,,B\n",
    )
    loaded = load_index(table)
    assert list(loaded.columns) == [*COLUMNS, "site"]
    assert list(loaded["participant"]) == ["p1", "x"]
    assert list(loaded["contrast"]) == ["T2w", "T1w"]
    assert list(loaded["brain"]) == ["", ""]
    index, (finding,) = make_index(table)
    assert list(index["participant"]) == ["p1"]
    assert (finding.where.name, finding.what) == ("gone.nii", "unreadable")


@pytest.mark.parametrize(
    "text",
    [
        "image;mask;age\na.nii;m.nii;34,5\n",
        "Image\tMask\tAge\na.nii\tm.nii\t34,5\n",
        '\ufeffimage, mask, age\na.nii, m.nii,"34,5"\n',
    ],
)
def test_the_tables_of_spreadsheets_are_read(tmp_path, text):
    (row,) = load_index(write_text(tmp_path / "t.csv", text)).to_dict("records")
    assert (row["image"], row["mask"]) == (str(tmp_path / "a.nii"), str(tmp_path / "m.nii"))
    assert row["age"] == "34,5"


def test_a_table_may_name_label_maps_pairs_or_both(tmp_path):
    nib.save(make_label_map(32, 6.0), tmp_path / "map.nii.gz")
    write(tmp_path / "a.nii.gz")
    write(tmp_path / "b.nii.gz")
    write_mask(tmp_path / "m.nii.gz")
    table = write_text(
        tmp_path / "t.tsv",
        "image\tmask\tlabel_map\na.nii.gz\tm.nii.gz\tmap.nii.gz\nb.nii.gz\tm.nii.gz\tb.nii.gz\n",
    )
    index, (finding,) = make_index(table)
    assert names(index, "label_map") == ["map.nii.gz", ""]
    assert names(index, "image") == ["a.nii.gz", "b.nii.gz"]
    assert finding.what == "no-mask"
    assert list(
        load_index(write_text(tmp_path / "m.tsv", "label_map\nx.nii\n"))["participant"]
    ) == ["x"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.tsv", "image\na.nii\n", "no columns image and mask.*found image"),
        ("t.tsv", "image\tmask\na.nii\t\n", "line 2 names neither"),
        ("t.tsv", "image\tmask\na\tb\n\tb\n", "line 3 names neither"),
        ("t.tsv", "image\tmask\n", "a table without a row"),
        ("t.tsv", "image\tmask\na\tb\n\n\tb\n", "line 4 names neither"),
        ("t.tsv", "image,mask\na,b\n", "no columns image and mask.*found image,mask"),
        ("t.csv", "", "a table without a row"),
        ("t.csv", None, "cannot be read"),
        ("nowhere", None, "no such folder"),
    ],
)
def test_bad_tables_are_refused(tmp_path, name, text, message):
    if text is not None:
        write_text(tmp_path / name, text)
    with pytest.raises(InputError, match=message):
        make_index(tmp_path / name)


def test_an_index_is_a_tsv_or_csv(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.tsv or \.csv"):
        load_index(tmp_path / "x.json")
    with pytest.raises(InputError, match=r"ends in \.tsv or \.csv"):
        save_index(pd.DataFrame(columns=list(COLUMNS)), tmp_path / "x.txt")


def test_a_folder_without_heads_reports_the_layouts_that_were_tried(tmp_path):
    write_text(tmp_path / "readme.txt", "nothing")
    with pytest.raises(InputError, match=r"among 0 images; looked for NFBS.*BIDS.*FreeSurfer"):
        make_index(tmp_path)


def test_an_index_is_described_in_one_line(nfbs):
    seen = []
    index, findings = make_index(nfbs, observe=lambda done, count: seen.append((done, count)))
    assert describe_index(index, findings) == (
        "3 pairs (T1w 3) and 0 label maps of 3 participants; 1 left out"
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_training_reads_an_index(tmp_path):
    pytest.importorskip("torch")
    from deskull.train.data import load_sources
    from deskull.train.recipe import load_recipe

    image, brain = make_head()
    nib.save(image, tmp_path / "p1_T1w.nii.gz")
    nib.save(nib.Nifti1Image(brain.astype(np.uint8), image.affine), tmp_path / "p1_T1w_mask.nii")
    nib.save(make_label_map(), tmp_path / "p2.nii.gz")
    index, _ = make_index(tmp_path)
    save_index(index, tmp_path / "index.TSV")
    sources = load_sources([tmp_path / "index.TSV"], load_recipe("locate"))
    assert [head.participant for head in sources.real] == ["p1"]
    assert [head.participant for head in sources.labelled] == ["p2"]


# ---- contact sheets


def test_sheets_show_every_pair_a_dozen_to_a_page(tmp_path):
    for number in range(ROWS_OF_SHEET + 1):
        write(tmp_path / f"p{number:02}.nii.gz")
        write_mask(tmp_path / f"p{number:02}_mask.nii.gz")
    index, _ = make_index(tmp_path)
    seen = []
    pages = save_sheets(index, tmp_path / "look.png", lambda *done: seen.append(done))
    assert [page.name for page in pages] == ["look.png", "look-2.png"]
    assert seen[-1] == (13, 13)
    first, second = (read_picture(page) for page in pages)
    assert len(first) == ROWS_OF_SHEET * len(second)
    left, right = np.split(second == OUTLINE, 2, axis=1)
    assert left.any()
    assert not right.any()


def test_sheets_show_the_brain_labels_of_a_label_map(tmp_path):
    nib.save(make_label_map(32, 6.0), tmp_path / "map.nii.gz")
    (page,) = save_sheets(make_index(tmp_path)[0], tmp_path / "look.png")
    assert (read_picture(page) == OUTLINE).sum() > 500


# ---- the command


def run(*arguments):
    return cli.run([str(argument) for argument in arguments])


def test_the_command_writes_table_and_pictures_and_a_summary(nfbs, caplog, capsys):
    out, pictures = nfbs / "index.tsv", nfbs / "look.png"
    assert run("index", nfbs, "-o", out, "--pictures", pictures) == 0
    assert len(load_index(out)) == 3
    assert pictures.is_file()
    assert caplog.messages == [
        "left out: A000A3/sub-A3_ses-NFBR2_T1w.nii.gz: no-mask: no mask of this image was found, "
        "and it does not look like a label map.",
        f"{out}: 3 pairs (T1w 3) and 0 label maps of 3 participants; 1 left out",
    ]
    assert capsys.readouterr().out == ""


def test_the_command_takes_patterns_and_its_own_tables(tmp_path, caplog):
    write(tmp_path / "p1.nii.gz")
    write_mask(tmp_path / "p1_seg.nii.gz")
    (tmp_path / "sub").mkdir()
    first, again = tmp_path / "first.csv", tmp_path / "sub" / "again.tsv"
    patterns = ("--pattern", "{participant}.nii.gz", "--mask-pattern", "{participant}_seg.nii.gz")
    assert run("index", tmp_path, "-o", first, *patterns) == 0
    assert run("index", first, "-o", again) == 0
    pd.testing.assert_frame_equal(load_index(again), load_index(first))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("index DIR -o DIR/x.txt", "ends in .csv, .tsv"),
        ("index DIR -o DIR/x.tsv --pictures DIR/x.jpg", "ends in .png"),
        ("index DIR/t.tsv -o DIR/t.tsv", "it is an input"),
        ("index DIR -o DIR/x.tsv", "no head to train on"),
        ("index DIR/gone -o DIR/x.tsv", "no such folder"),
    ],
)
def test_what_the_command_cannot_do_is_one_line(tmp_path, capsys, arguments, message):
    write(tmp_path / "a.nii.gz")
    write_text(tmp_path / "t.tsv", "label_map\na.nii.gz\n")
    assert run(*arguments.replace("DIR", str(tmp_path)).split()) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "x.tsv").exists()


# ---- real heads


@pytest.fixture
def heads():
    folder = Path(os.environ.get("DESKULL_TEST_DATA", "/nowhere"))
    if not (folder / "heads").is_dir():
        pytest.skip("DESKULL_TEST_DATA names no folder with heads")
    return folder / "heads"


def test_every_real_head_can_be_indexed(heads):
    index, findings = make_index(heads)
    images = [
        p for p in heads.glob("*.nii.gz") if not p.name.endswith(("nce.nii.gz", "ty.nii.gz"))
    ]
    assert len(index) == len(images)
    assert findings == []
