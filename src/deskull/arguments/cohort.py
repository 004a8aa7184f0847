"""Arguments of the commands that strip many scans."""

import argparse
from typing import Any

from deskull.arguments.options import (
    NOT_MEDICAL,
    add_command,
    add_engine,
    add_frame,
    add_outputs,
    add_strip_settings,
)
from deskull.outputs import list_outputs


def add_batch(commands: Any) -> None:
    """Add `deskull batch`."""
    parser = add_command(
        commands,
        "batch",
        "isolate the brain in many scans",
        "deskull batch study/ -o brains\n"
        "Outputs mirror the tree of the inputs: brains/sub-01/T1w_brain.nii.gz, T1w_mask.nii.gz, "
        "T1w_record.json;\nthe table of all scans is brains/deskull_batch.tsv. Run the same "
        "command again to "
        "continue after any interruption:\nfinished scans are skipped, failed ones are tried "
        "again. From folders and globs, outputs of deskull and\nother files derived from a scan "
        "(X_mask on the grid of X beside it) are left out, and named; in a list or a\ntable "
        "every line counts, and paths are relative to its folder. A folder of DICOM is one "
        "scan.\n\n"
        "As a job array of SLURM; the same command without --shard at the end writes the "
        "whole table:\n  #SBATCH --array=1-50 --cpus-per-task=2\n"
        "  deskull batch study/ -o brains --shard $SLURM_ARRAY_TASK_ID/50 "
        "-t $SLURM_CPUS_PER_TASK\n" + NOT_MEDICAL,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="scan, folder, glob, text file with one path per line, or CSV or TSV with the "
        "column in and optionally out and mask",
    )
    parser.add_argument(
        "-o",
        "--out",
        "--out-dir",
        dest="out_dir",
        required=True,
        metavar="DIR",
        help="folder of the outputs",
    )
    add_outputs(parser, "batch", type=_to_outputs, metavar="A,B,...")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="number of processes, which share the cores; if one runs out of memory, only its "
        "scan "
        "fails (default: 1, which reads and writes while the network runs)",
    )
    parser.add_argument(
        "--mem-gb",
        type=float,
        metavar="GB",
        help="memory limit of the run: fewer scans run at once, and a scan that needs more is "
        "refused (default: as much as the workers need)",
    )
    add_sharing(parser)
    parser.add_argument(
        "--one-mask",
        action="store_true",
        help="strip one scan of each session and apply its mask to the co-registered others: of "
        "the "
        "scans whose field of view covers the head, the T1w image, else the one of highest "
        "resolution",
    )
    add_frame(parser)
    add_strip_settings(parser)
    add_engine(parser)


def add_sharing(parser: argparse.ArgumentParser) -> None:
    """Add the options that distribute scans over machines, and strip them again."""
    parser.add_argument(
        "--cluster",
        metavar="WHERE",
        help="strip on a Dask cluster: tcp://HOST:PORT of its scheduler, or a TOML file that "
        "describes the jobs to submit to SLURM, PBS or SGE; each scan runs on one core, unless "
        "more threads are requested",
    )
    parser.add_argument(
        "--shard",
        type=_to_shard,
        metavar="I/N",
        help="strip every N-th scan from the I-th on, counted from 1",
    )
    parser.add_argument("--force", action="store_true", help="strip finished scans again")


def _to_outputs(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    known = [row.name for row in list_outputs("batch")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r}: expected some of {', '.join(known)}")
    return names


def _to_shard(text: str) -> tuple[int, int]:
    parts = text.split("/")
    if len(parts) == 2 and all(part.isascii() and part.isdigit() for part in parts):
        number, count = int(parts[0]), int(parts[1])
        if 1 <= number <= count:
            return number, count
    raise argparse.ArgumentTypeError(f"{text!r}: expected I/N, such as 3/50, from 1/50 to 50/50")
