"""Damages small files of every format that deskull reads, and looks at what the readers do.

A case is a number: the same seed and number make the same damage. Each must end within
seconds and megabytes, in a volume whose outputs can be written or in one of our errors, and
with nothing printed or warned. Run by hand for as long as there is time:

    python tests/fuzz_readers.py --cases 100000

A supervisor starts the worker again after a case that killed it, and keeps the file.
"""

import argparse
import bz2
import contextlib
import faulthandler
import gzip
import logging
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from backports import zstd

try:
    import resource
except ImportError:  # Windows: there memory is neither counted nor limited
    resource = None

import dicom_files
import scans
from deskull.errors import DeskullError
from deskull.image.derived import make_brain_image, make_map_image, make_mask_image
from deskull.image.volume import load_volume
from deskull.image.writing import save_image

SECONDS = 20
MAX_MB = 300  # that one case may add to the process
ADDRESSES = 8 * 1024**3
SPECIAL = [0, 1, -1, 2**7, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]
FLOATS = [0.0, -0.0, 1e-45, 1e38, np.inf, -np.inf, np.nan, 1e308, -1.0]
WORDS = [
    b"0",
    b"-1",
    b"99999999999",
    b"1e999",
    b"nan",
    b"none",
    b"",
    b"(",
    b"%s",
    b"../x",
    b"\xff",
]


class Finding(NamedTuple):
    """What one case did that it must not."""

    format: str
    number: int
    what: str


def write_series(path: Path) -> Path:
    """Write a DICOM folder."""
    return dicom_files.write_series(path)


def write_frames(path: Path) -> Path:
    """Write a 4D NIfTI file."""
    return scans.write_nifti(path, np.stack([scans.HEAD] * 3, axis=-1))


def write_zip(path: Path) -> Path:
    """Write a zip of DICOM."""
    series = dicom_files.write_series(path.with_name("series"))
    return dicom_files.zip_folder(series, path)


def write_bare_series(path: Path) -> Path:
    """Write a DICOM folder of files without preamble."""
    dicom_files.write_series(path)
    for file in path.iterdir():
        file.write_bytes(file.read_bytes()[132:])
    return path


def write_tar(path: Path) -> Path:
    """Write a tar of DICOM."""
    series = dicom_files.write_series(path.with_name("series"))
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for file in sorted(series.iterdir()):
            archive.add(file, file.name)
    return path


def write_packed(path: Path) -> Path:
    """Write a scan, packed as the last suffix says."""
    plain = path.with_name("plain").with_suffix(Path(path.stem).suffix)
    scans.WRITERS.get(f"scan{plain.suffix}", scans.write_minc1)(plain)
    path.write_bytes(PACK[path.suffix](plain.read_bytes()))
    plain.unlink()
    return path


PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}
FORMATS: dict[str, tuple[str, Callable[[Path], object], int]] = {  # file, writer, share of cases
    "nifti1": ("scan.nii", scans.write_nifti, 20),
    "nifti1-gz": ("scan.nii.gz", scans.write_nifti, 15),
    "nifti2": ("scan.nii", lambda p: scans.write_nifti(p, kind=nib.Nifti2Image), 10),
    "frames": ("scan.nii", write_frames, 5),
    "pair": ("scan.hdr", scans.WRITERS["scan.hdr"], 10),
    "mgh": ("scan.mgh", scans.write_mgh, 8),
    "mgz": ("scan.mgz", scans.write_mgh, 8),
    "analyze": ("scan.hdr", scans.write_analyze, 8),
    "nrrd": ("scan.nrrd", scans.write_nrrd, 8),
    "nhdr": ("scan.nhdr", scans.write_nrrd, 4),
    "mha": ("scan.mha", scans.write_metaimage, 8),
    "mhd": ("scan.mhd", scans.write_metaimage, 4),
    "minc1": ("scan.mnc", scans.write_minc1, 6),
    "minc2": ("scan.mnc", scans.write_minc2, 6),
    "dicom": ("series", write_series, 1),
    "bare-dicom": ("series", write_bare_series, 1),
    "zip": ("scan.zip", write_zip, 1),
    "tar": ("scan.tar", write_tar, 1),
    "tgz": ("scan.tgz", write_tar, 1),
    "nifti1-bz2": ("scan.nii.bz2", write_packed, 3),
    "nifti1-xz": ("scan.nii.xz", write_packed, 3),
    "nifti1-zst": ("scan.nii.zst", write_packed, 3),
    "nrrd-gz": ("scan.nrrd.gz", write_packed, 2),
    "mha-xz": ("scan.mha.xz", write_packed, 2),
    "minc1-gz": ("scan.mnc.gz", write_packed, 2),
}


def make_seeds(folder: Path) -> dict[str, dict[str, bytes]]:
    """Every format as its whole files: name -> content."""
    seeds = {}
    for kind, (name, write, _) in FORMATS.items():
        place = folder / kind
        place.mkdir()
        write(place / name)
        files = [p for p in sorted(place.rglob("*")) if p.is_file()]
        if kind in ("zip", "tar", "tgz"):
            files = [place / name]
        seeds[kind] = {str(p.relative_to(place)): p.read_bytes() for p in files}
    return seeds


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage bytes in one to four places, more often near the beginning."""
    whole = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not whole:
            break
        reach = len(whole) if rng.random() < 0.3 else min(len(whole), 600)
        place = int(rng.integers(reach))
        kinds = (_flip, _set_byte, _set_integer, _set_float, _cut, _insert, _repeat, _set_word)
        kinds[int(rng.integers(len(kinds)))](whole, place, rng)
    return bytes(whole)


def _flip(whole: bytearray, place: int, rng: np.random.Generator) -> None:
    whole[place] ^= 1 << int(rng.integers(8))


def _set_byte(whole: bytearray, place: int, rng: np.random.Generator) -> None:
    whole[place] = int(rng.integers(256))


def _set_integer(whole: bytearray, place: int, rng: np.random.Generator) -> None:
    width, order = int(rng.choice([2, 4, 8])), str(rng.choice(["little", "big"]))
    value = int(rng.choice(SPECIAL)) % 2 ** (8 * width)
    _put(whole, place // 2 * 2, value.to_bytes(width, order))


def _set_float(whole: bytearray, place: int, rng: np.random.Generator) -> None:
    with np.errstate(over="ignore"):
        value = np.array(rng.choice(FLOATS)).astype(str(rng.choice(["<f4", ">f4", "<f8"])))
    _put(whole, place // 4 * 4, value.tobytes())


def _cut(whole: bytearray, place: int, rng: np.random.Generator) -> None:
    del whole[place : place + int(rng.choice([1, 7, 100, len(whole)]))]


def _insert(whole: bytearray, place: int, rng: np.random.Generator) -> None:
    whole[place:place] = rng.bytes(int(rng.choice([1, 4, 100, 5000])))


def _repeat(whole: bytearray, place: int, rng: np.random.Generator) -> None:
    whole[place:place] = whole[place : place + int(rng.choice([4, 40, 400]))]


def _set_word(whole: bytearray, place: int, rng: np.random.Generator) -> None:
    """Put something else for a number or word of a text header."""
    spans = [match.span() for match in re.finditer(rb"[-+.\w]+", bytes(whole[:2000]))]
    if spans:
        start, stop = spans[int(rng.integers(len(spans)))]
        whole[start:stop] = WORDS[int(rng.integers(len(WORDS)))]


def _put(whole: bytearray, place: int, value: bytes) -> None:
    stop = min(place + len(value), len(whole))
    whole[place:stop] = value[: stop - place]


def write_case(
    seeds: dict[str, dict[str, bytes]], seed: int, number: int, folder: Path
) -> tuple[str, Path]:
    """Write the files of one case; its format, and the path to be read."""
    rng = np.random.default_rng([seed, number])
    shares = np.array([share for *_, share in FORMATS.values()], float)
    kind = str(rng.choice(list(FORMATS), p=shares / shares.sum()))
    files = dict(seeds[kind])
    victim = str(rng.choice(list(files)))
    content = files[victim]
    if content[:2] == b"\x1f\x8b" and rng.random() < 0.7:
        files[victim] = gzip.compress(damage(gzip.decompress(content), rng), 1, mtime=0)
    else:
        files[victim] = damage(content, rng)
    if len(files) > 1 and rng.random() < 0.02:
        del files[victim]
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return kind, folder / FORMATS[kind][0]


def read_and_write(path: Path, frame: int | None, out: Path) -> str:
    """Load, make every output and write it: "read", or the kind of error it was refused with."""
    try:
        volume = load_volume(path, frame)
        with np.errstate(over="ignore"):  # of two huge middle values
            mask = np.nan_to_num(volume.data) > np.nanmedian(volume.data)
        for make in (make_mask_image, make_map_image, make_brain_image):
            save_image(make(mask, volume.source), out / "out.nii")
            save_image(make(mask, volume.source), out / "out.mgh")
    except DeskullError as error:
        if "\n" in str(error) or not str(error):
            raise ValueError(f"a message of other than one line: {error!r}") from error
        if "not enough memory" in str(error):
            raise
        return type(error).__name__
    return "read"


def run_case(
    seeds: dict[str, dict[str, bytes]], seed: int, number: int, folder: Path
) -> tuple[str, str, list[Finding]]:
    """Run one case in a folder of its own; its format, how it ended, and what was wrong."""
    place = folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    kind, path = write_case(seeds, seed, number, place)
    findings: list[Finding] = []
    frame = [None, 0, 1][number % 3]
    memory = measure_peak()
    faulthandler.dump_traceback_later(SECONDS, exit=True, file=sys.__stderr__)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            ending = read_and_write(path, frame, folder)
        except Exception as error:
            ending = "escaped"
            findings.append(Finding(kind, number, f"{type(error).__name__}: {error}"[:300]))
    faulthandler.cancel_dump_traceback_later()
    grown = (measure_peak() - memory) // 1024
    if grown > MAX_MB:
        findings.append(Finding(kind, number, f"took {grown} MB"))
    findings += [Finding(kind, number, f"warned: {one.message}"[:300]) for one in warned]
    return kind, ending, findings


def measure_peak() -> int:
    """Measure the most memory that this process ever took, in kB; 0 where it is not counted."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if resource else 0


@contextlib.contextmanager
def watch_prints(file: Path) -> Iterator[Callable[[], bytes]]:
    """Send what C libraries print to a file; gives a function that takes what came."""
    sys.stderr.flush()
    kept = os.dup(2)
    with file.open("w+b", buffering=0) as caught:
        os.dup2(caught.fileno(), 2)

        def take() -> bytes:
            caught.seek(0)
            text = caught.read()
            caught.seek(0)
            caught.truncate()
            return text

        try:
            yield take
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def work(seed: int, numbers: range, folder: Path) -> None:
    """Run cases one after the other, a line on stdout for each that is worth one."""
    if resource:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    logging.getLogger("deskull").addHandler(logging.NullHandler())  # notes are no findings
    with tempfile.TemporaryDirectory() as place:
        seeds = make_seeds(Path(place))
    endings: Counter[str] = Counter()
    with watch_prints(folder / "printed") as take:
        for number in numbers:
            (folder / "number").write_text(str(number))
            kind, ending, findings = run_case(seeds, seed, number, folder)
            endings[f"{kind} {ending}"] += 1
            if printed := take():
                findings.append(Finding(kind, number, f"printed: {printed[:300]!r}"))
            for one in findings:
                print(f"FINDING {one.format} {one.number} {one.what}", flush=True)
            if number % 1000 == 999 or number == numbers[-1]:
                print(f"ENDINGS {dict(endings)}", flush=True)
                endings.clear()


def supervise(seed: int, cases: int, keep: Path) -> int:
    """Run all cases, whatever happens to the worker; the number of findings."""
    keep.mkdir(parents=True, exist_ok=True)
    found, endings, number, began = 0, Counter[str](), 0, time.time()
    while number < cases:
        command = [sys.executable, __file__, "--worker", "--seed", str(seed)]
        command += ["--first", str(number), "--cases", str(cases), "--keep", str(keep)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            for line in worker.stdout:
                if line.startswith("ENDINGS"):
                    endings.update(eval(line.removeprefix("ENDINGS")))
                    continue
                found += 1
                print(line, end="", flush=True)
        number = int((keep / "number").read_text()) + 1
        if worker.returncode != 0:
            found += 1
            print(f"FINDING ? {number - 1} the worker died ({worker.returncode})", flush=True)
            shutil.copytree(keep / "case", keep / f"died-{number - 1}", dirs_exist_ok=True)
    for name, count in sorted(endings.items()):
        print(f"{name:30} {count}")
    print(f"{cases} cases of seed {seed}: {found} findings in {time.time() - began:.0f} s")
    return found


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Fuzz the readers.")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "deskull-fuzz")
    parser.add_argument("--worker", action="store_true", help="run the cases in this process")
    options = parser.parse_args()
    if options.worker:
        work(options.seed, range(options.first, options.cases), options.keep)
        return 0
    return 1 if supervise(options.seed, options.cases, options.keep) else 0


if __name__ == "__main__":
    sys.exit(main())
