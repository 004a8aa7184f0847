"""Packed files: every packing, what lies behind it, modules that are missing, and bombs."""

import bz2
import gzip
import io
import lzma
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from backports import zstd

from deskull.errors import ImageFileError
from deskull.image.derived import make_mask_image
from deskull.image.volume import load_volume
from deskull.image.writing import save_image
from dicom_files import make_slice
from scans import AFFINE, HEAD, WRITERS, write_minc1, write_minc2, write_nifti


def pack_zstd(content):
    """As the program zstd does, with a checksum."""
    return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})


PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": pack_zstd}
PLAIN = ["scan.nii", "scan.mgh", "scan.nrrd", "scan.mha"]
WORDS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard"}


def write_packed(path, name="scan.nii"):
    """Write a scan under `name` in a folder beside, and pack it to `path`."""
    (path.parent / "plain").mkdir(exist_ok=True)
    content = WRITERS[name](path.parent / "plain" / name).read_bytes()
    path.write_bytes(PACK[path.suffix.lower()](content))
    return path


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("name", PLAIN)
def test_every_packing_of_every_format(tmp_path, name, suffix):
    volume = load_volume(write_packed(tmp_path / (name + suffix), name))
    assert np.array_equal(volume.data, HEAD)
    assert volume.grid.affine == pytest.approx(AFFINE)
    assert volume.name == name + suffix
    assert volume.notes == ()


@pytest.mark.parametrize("write", [write_minc1, write_minc2])
def test_packed_minc(tmp_path, write):
    path = tmp_path / "scan.mnc.gz"
    path.write_bytes(gzip.compress(write(tmp_path / "scan.mnc").read_bytes()))
    assert np.array_equal(load_volume(path).data, HEAD.T * 2)


@pytest.mark.parametrize("suffix", PACK)
def test_the_content_tells_the_packing_whatever_the_name(tmp_path, suffix):
    path = write_packed(tmp_path / f"scan.nii{suffix}")
    assert np.array_equal(load_volume(path.rename(tmp_path / "scan.nii")).data, HEAD)


@pytest.mark.parametrize("name", ["scan.nii.GZ", "SCAN.NII.Gz", "scan.NII.BZ2", "Scan.Mgz"])
def test_suffixes_of_any_letters(tmp_path, name):
    content = WRITERS["scan.mgz" if name == "Scan.Mgz" else "scan.nii"](
        tmp_path / ("plain.mgz" if name == "Scan.Mgz" else "plain.nii")
    ).read_bytes()
    if name != "Scan.Mgz":
        content = PACK["." + name.rpartition(".")[2].lower()](content)
    (tmp_path / name).write_bytes(content)
    assert np.array_equal(load_volume(tmp_path / name).data, HEAD)


PAIRS = (
    *("a.hdr a.img", "A.HDR A.IMG", "a.HDR a.img", "a.Hdr a.Img", "a.hdr a.img.xz"),
    *("a.hdr a.img.gz", "a.hdr.gz a.img.gz", "a.hdr.gz a.img", "A.HDR.GZ A.IMG.GZ"),
)


@pytest.mark.parametrize(("header", "voxels"), [pair.split() for pair in PAIRS])
@pytest.mark.parametrize("write", ["scan.hdr", "analyze.hdr"])
def test_pairs_of_any_letters_and_packing(tmp_path, header, voxels, write):
    (tmp_path / "plain").mkdir()
    WRITERS[write](tmp_path / "plain" / "x.hdr")
    for name, plain in ((header, "x.hdr"), (voxels, "x.img")):
        content = (tmp_path / "plain" / plain).read_bytes()
        (tmp_path / name).write_bytes(PACK.get(Path(name).suffix.lower(), bytes)(content))
    if write == "analyze.hdr":
        (tmp_path / f"{header[0]}.mat").write_bytes((tmp_path / "plain" / "x.mat").read_bytes())
    for name in (header, voxels):
        volume = load_volume(tmp_path / name)
        assert np.array_equal(volume.data, HEAD)
        assert volume.grid.affine == pytest.approx(AFFINE)


# --- behind the packed stream


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_bytes_behind_the_stream_are_left_out_and_told(tmp_path, suffix, caplog):
    path = write_packed(tmp_path / f"scan.nii{suffix}")
    path.write_bytes(path.read_bytes() + b"more bytes")
    volume = load_volume(path)
    assert np.array_equal(volume.data, HEAD)
    assert volume.notes == ("10 bytes after its compressed content were ignored",)
    assert caplog.messages == [f"{path.name}: 10 bytes after its compressed content were ignored."]


@pytest.mark.parametrize("behind", [b"\0" * 512, b""], ids=["zeros", "nothing"])
def test_zeros_behind_the_stream_are_no_matter(tmp_path, behind):
    path = write_packed(tmp_path / "scan.nii.gz")
    path.write_bytes(path.read_bytes() + behind)
    assert load_volume(path).notes == ()


@pytest.mark.parametrize("suffix", PACK)
def test_a_content_in_several_streams(tmp_path, suffix):
    content = write_nifti(tmp_path / "scan.nii").read_bytes()
    parts = [content[:100], content[100:355], content[355:]]
    (tmp_path / f"parts.nii{suffix}").write_bytes(b"".join(map(PACK[suffix], parts)))
    assert np.array_equal(load_volume(tmp_path / f"parts.nii{suffix}").data, HEAD)


# --- damage


@pytest.mark.parametrize("suffix", PACK)
def test_half_a_file_is_told(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 30000, (40, 50, 60)).astype("i2")
    content = write_nifti(tmp_path / "plain.nii", noise).read_bytes()
    path = tmp_path / f"scan.nii{suffix}"
    path.write_bytes(PACK[suffix](content)[:100_000])
    with pytest.raises(ImageFileError, match=f"scan.nii{suffix}: truncated, "):
        load_volume(path)


@pytest.mark.parametrize("suffix", PACK)
def test_damage_is_told(tmp_path, suffix):
    path = write_packed(tmp_path / f"scan.nii{suffix}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ImageFileError, match=f"(damaged {WORDS[suffix]}|truncated)"):
        load_volume(path)


# --- modules that are missing


def hide(monkeypatch, *names):
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def without_isal(monkeypatch):
    hide(monkeypatch, "isal", "isal.igzip", "isal.igzip_lib", "isal.isal_zlib")


@pytest.mark.usefixtures("without_isal")
@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.mgz", "scan.nrrd", "scan.mha"])
def test_gzip_is_read_without_isal(tmp_path, name):
    path = (
        write_packed(tmp_path / name) if name == "scan.nii.gz" else WRITERS[name](tmp_path / name)
    )
    assert np.array_equal(load_volume(path).data, HEAD)


@pytest.mark.usefixtures("without_isal")
def test_gzip_is_written_without_isal(tmp_path):
    source = load_volume(write_packed(tmp_path / "scan.nii.gz")).source
    save_image(make_mask_image(HEAD > 9, source), tmp_path / "mask.nii.gz")
    save_image(make_mask_image(HEAD > 9, source), tmp_path / "again.nii.gz")
    assert np.array_equal(np.asarray(nib.load(tmp_path / "mask.nii.gz").dataobj), HEAD > 9)
    assert (tmp_path / "mask.nii.gz").read_bytes() == (tmp_path / "again.nii.gz").read_bytes()


@pytest.mark.usefixtures("without_isal")
@pytest.mark.parametrize(
    "edit", [lambda c: c[:150], lambda c: c[:-6] + b"\0" + c[-5:]], ids=["cut", "sum"]
)
def test_damage_is_told_without_isal(tmp_path, edit):
    path = write_packed(tmp_path / "scan.nii.gz")
    path.write_bytes(edit(path.read_bytes()))
    with pytest.raises(ImageFileError, match=r"truncated|damaged gzip"):
        load_volume(path)


@pytest.mark.parametrize(
    ("name", "module", "hint"),
    [
        (
            "scan.nrrd",
            "nrrd",
            "NRRD needs pynrrd, which is not installed. Run: pip install pynrrd",
        ),
        (
            "scan.mnc",
            "h5py",
            r"MINC 2 is HDF5, and h5py is not installed. Run: pip install 'deskull\[minc\]'",
        ),
        (
            "scan.nii.zst",
            "backports",
            r"Zstandard, .* Run: pip install 'deskull\[zstd\]'",
        ),
    ],
)
def test_a_missing_package_is_named_as_it_is_installed(tmp_path, monkeypatch, name, module, hint):
    path = tmp_path / name
    if name == "scan.mnc":
        write_minc2(path)
    elif name == "scan.nrrd":
        WRITERS[name](path)
    else:
        write_packed(path)
    hide(monkeypatch, module, "backports.zstd", "compression")
    with pytest.raises(ImageFileError, match=f"{name}: .*{hint}"):
        load_volume(path)


# --- bombs: little on disk, much in memory


def measure(path, message):
    """Peak of memory while a file is refused."""
    tracemalloc.start()
    with pytest.raises(ImageFileError, match=message):
        load_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("suffix", PACK)
def test_a_header_that_promises_more_than_a_small_file_can_hold_is_refused(tmp_path, suffix):
    header = nib.Nifti1Header()
    header.set_data_shape((1000, 1000, 400))
    header.set_data_dtype(np.int16)
    content = header.binaryblock + b"\0" * 100_000
    (tmp_path / f"scan.nii{suffix}").write_bytes(PACK[suffix](content))
    assert measure(tmp_path / f"scan.nii{suffix}", "promises 800000000 bytes") < 2**24


@pytest.mark.parametrize("suffix", [".bz2", ".xz", ".zst"])
def test_a_small_mask_of_much_air_is_no_bomb(tmp_path, suffix):
    data = np.zeros((200, 200, 200), np.uint8)
    data[9, 9, 9] = 1
    content = write_nifti(tmp_path / "plain.nii", data).read_bytes()
    (tmp_path / f"scan.nii{suffix}").write_bytes(PACK[suffix](content))
    assert load_volume(tmp_path / f"scan.nii{suffix}").data.sum() == 1


def write_tar(path, sizes=(), lead=b""):
    """Write a packed tar whose files are zeros of so many bytes."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for number, size in enumerate(sizes):
            entry = tarfile.TarInfo(str(number))
            entry.size = size
            archive.addfile(entry, io.BytesIO(bytes(size)))
    path.write_bytes(PACK[path.suffix](lead + written.getvalue()))


@pytest.mark.parametrize("suffix", PACK)
def test_a_tar_that_grows_beyond_measure_is_refused(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("deskull.image.archives._MAX_GROWTH", (100, 2**20))
    write_tar(tmp_path / f"scan.tar{suffix}", [2**22] * 16)
    assert measure(tmp_path / f"scan.tar{suffix}", "MiB in it; expected one scan") < 2**24


def test_a_zip_that_grows_beyond_measure_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("deskull.image.archives._MAX_GROWTH", (100, 2**20))
    with zipfile.ZipFile(tmp_path / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1", bytes(2**26))
    assert measure(tmp_path / "scan.zip", "MiB in it") < 2**27  # of which writing took the most


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_whose_names_fill_the_memory_is_refused(tmp_path, kind):
    entry = tarfile.TarInfo("name")
    entry.type, entry.size = kind, 2**26
    lead = entry.tobuf(tarfile.GNU_FORMAT) + bytes(2**26)
    (tmp_path / "scan.tgz").write_bytes(gzip.compress(lead))
    assert measure(tmp_path / "scan.tgz", "cannot be read") < 2**24


def test_a_sparse_tar_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("deskull.image.archives._MAX_GROWTH", (100, 2**20))
    lines = (
        f"GNU.sparse.major=0 GNU.sparse.minor=1 GNU.sparse.size={2**40} GNU.sparse.map=0,0".split()
    )
    entry = tarfile.TarInfo("hole")
    entry.pax_headers = dict(line.split("=", 1) for line in lines)
    (tmp_path / "scan.tar").write_bytes(entry.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    assert measure(tmp_path / "scan.tar", "MiB in it") < 2**24


def test_a_tar_of_countless_folders_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("deskull.image.archives.MAX_FILES", 1000)
    folder = tarfile.TarInfo("folder")
    folder.type = tarfile.DIRTYPE
    (tmp_path / "scan.tgz").write_bytes(gzip.compress(folder.tobuf() * 5000))
    assert measure(tmp_path / "scan.tgz", "more than 1000 files") < 2**24


def test_a_packed_minc_that_grows_beyond_measure_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("deskull.image.archives._MAX_GROWTH", (100, 2**20))
    content = write_minc1(tmp_path / "scan.mnc").read_bytes() + bytes(2**26)
    (tmp_path / "scan.mnc.xz").write_bytes(lzma.compress(content))
    assert measure(tmp_path / "scan.mnc.xz", "MiB in it") < 2**24


@pytest.mark.parametrize("lines", [b"NRRD0004\n" + b"#" * 2**26, b"NRRD0004\n" + b"# x\n" * 2**24])
def test_an_nrrd_of_endless_text_is_refused(tmp_path, lines):
    (tmp_path / "scan.nrrd").write_bytes(lines)
    assert measure(tmp_path / "scan.nrrd", "bytes of header; expected an NRRD") < 2**25


def test_a_dictionary_that_fills_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("deskull.image.streams._XZ_MEMORY", 2**16)
    path = write_packed(tmp_path / "scan.nii.xz")
    with pytest.raises(ImageFileError, match=r"damaged xz \(Memory usage limit"):
        load_volume(path)


def test_one_slice_in_a_packed_file(tmp_path):
    (tmp_path / "one.dcm.gz").write_bytes(gzip.compress(make_slice(0)))
    with pytest.raises(ImageFileError, match="a single slice"):
        load_volume(tmp_path / "one.dcm.gz")
