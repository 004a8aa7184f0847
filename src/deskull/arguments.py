"""The words of the command line: every command, its options, and how they are settled."""

import argparse
from typing import Any

from deskull import __version__

COMMANDS = (
    "strip",
    "batch",
    "apply",
    "info",
    "weights",
    "demo",
    "index",
    "train",
    "finetune",
    "export",
)
OUTPUTS = ("brain", "mask", "record", "probability", "distance", "picture")  # of batch
NOT_MEDICAL = "For research; not a medical device. A stripped brain is not fully anonymous."


def make_parser() -> argparse.ArgumentParser:
    """Build the parser with all its commands."""
    parser = argparse.ArgumentParser(
        prog="deskull",
        description="Raw head MRI in, brain out. `deskull IN [OUT]` is short for `deskull strip`.",
        epilog="example: deskull sub-01_T1w.nii.gz\n" + NOT_MEDICAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"deskull {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_strip(commands)
    _add_batch(commands)
    _add_apply(commands)
    _add_info(commands)
    _add_weights(commands)
    _add_demo(commands)
    _add_index(commands)
    _add_train(commands)
    _add_finetune(commands)
    _add_export(commands)
    return parser


def _add(commands: Any, name: str, words: str, example: str) -> argparse.ArgumentParser:
    """Add a command with the options that all of them have."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=words,
        description=words[0].upper() + words[1:] + ".",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(parser=parser)
    return parser


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-t", "--threads", type=int, metavar="N", help="cores to use (default: all there are)"
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="WHERE",
        help="auto, cpu, cuda[:N] or mps (default: auto, which falls back to the CPU)",
    )
    parser.add_argument(
        "--weights", default="default", metavar="NAME|PATH", help="bundled set, or a folder"
    )


def _add_strip(commands: Any) -> None:
    parser = _add(
        commands,
        "strip",
        "isolate the brain in one scan",
        "deskull sub-01_T1w.nii.gz brain.nii.gz -m mask.nii.gz\n"
        "Without any output option, <stem>_brain.nii.gz and <stem>_mask.nii.gz are written "
        "beside the scan.\n" + NOT_MEDICAL,
    )
    parser.add_argument(
        "positional_image", nargs="?", metavar="IN", help="scan; of DICOM a folder, file or zip"
    )
    parser.add_argument("positional_out", nargs="?", metavar="OUT", help="the brain")
    parser.add_argument("-i", "--image", metavar="IN", help="the same as IN")
    parser.add_argument("-o", "--out", metavar="FILE", help="the same as OUT")
    parser.add_argument("-m", "--mask", metavar="FILE", help="write the mask, 0 and 1")
    parser.add_argument("-p", "--probability", metavar="FILE", help="write its probability")
    parser.add_argument(
        "-d", "--distance", metavar="FILE", help="write mm to the mask's surface, minus inside"
    )
    parser.add_argument(
        "-c", "--corrected", metavar="FILE", help="write the image corrected for bias (N4)"
    )
    parser.add_argument("--record", metavar="FILE", help="write what was done as JSON")
    parser.add_argument("--picture", metavar="PNG", help="write slices with the mask's outline")
    parser.add_argument("--steps", metavar="DIR", help="write what each step made")
    _add_strip_settings(parser)
    parser.add_argument(
        "--frame",
        type=_to_frame,
        metavar="N|all",
        help="frame of a 4D scan, from 0; all gives 4D outputs (picture and steps: the first)",
    )
    parser.add_argument("--series", metavar="N", help="which series of a DICOM folder")
    _add_engine(parser)


def _add_strip_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-b",
        "--border",
        type=float,
        default=0.0,
        metavar="MM",
        help="move the mask's surface by so many mm, plus grows (default: 0)",
    )
    parser.add_argument(
        "--no-csf", action="store_true", help="leave out the CSF around the brain's tissue"
    )
    parser.add_argument(
        "-f",
        "--fill",
        type=float,
        default=0.0,
        metavar="VALUE",
        help="intensity outside of the brain (default: 0); as in SynthStrip, not BET's -f",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="P",
        help="probability from which on a voxel is brain (default: 0.5)",
    )
    parser.add_argument(
        "--n4",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="correct bias first (default: only if the weights ask for it)",
    )


def _add_batch(commands: Any) -> None:
    parser = _add(
        commands,
        "batch",
        "isolate the brain in many scans",
        "deskull batch study/ --out-dir brains\n"
        "Outputs mirror the tree of the inputs: brains/sub-01/T1w_brain.nii.gz, T1w_mask.nii.gz, "
        "T1w_record.json;\nthe table of all is brains/deskull_batch.tsv. Run the same again to go "
        "on after an end of any kind:\nwhat is done is skipped, what failed is tried again. Of "
        "folders and globs, names such as X_mask and\nX_brain are no scans; in a list or a table "
        "every line counts, and paths begin at its folder.\n\n"
        "As a job array of SLURM, with the same command once more at the end for the whole "
        "table:\n  #SBATCH --array=1-50 --cpus-per-task=2\n"
        "  deskull batch study/ --out-dir brains --shard $SLURM_ARRAY_TASK_ID/50 "
        "-t $SLURM_CPUS_PER_TASK\n" + NOT_MEDICAL,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="scan, folder, glob, text file with one path a line, or CSV or TSV with the column "
        "in and perhaps out and mask",
    )
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="where outputs go")
    parser.add_argument(
        "--outputs",
        type=_to_outputs,
        default=("brain", "mask"),
        metavar="A,B,...",
        help=f"some of {', '.join(OUTPUTS)} (default: brain,mask; a record always)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes, which share the cores; one that runs out of memory costs only its scan "
        "(default: 1, which reads and writes while the network runs)",
    )
    parser.add_argument(
        "--shard", type=_to_shard, metavar="I/N", help="every N-th scan from the I-th on, from 1"
    )
    parser.add_argument("--force", action="store_true", help="strip again what is done")
    _add_strip_settings(parser)
    _add_engine(parser)


def _add_apply(commands: Any) -> None:
    parser = _add(
        commands,
        "apply",
        "put one mask on co-registered images of the same person",
        "deskull apply T1w_mask.nii.gz T2w.nii.gz bold.nii.gz\n"
        "Each output lies beside its image: <stem>_brain.nii.gz.",
    )
    parser.add_argument("mask", metavar="MASK", help="0 and 1, or a probability")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="any grid, 3D or 4D")
    parser.add_argument("-o", "--out", metavar="FILE", help="the brain, of one image")
    parser.add_argument(
        "-f",
        "--fill",
        type=float,
        default=0.0,
        metavar="VALUE",
        help="intensity outside of the brain (default: 0)",
    )


def _add_info(commands: Any) -> None:
    parser = _add(commands, "info", "say what is installed", "deskull info --json")
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_weights(commands: Any) -> None:
    parser = _add(
        commands, "weights", "list, show or verify weights", "deskull weights show default"
    )
    parser.add_argument("action", choices=("list", "show", "verify"))
    parser.add_argument("name", nargs="?", default="default", help="bundled set, or a folder")


def _add_demo(commands: Any) -> None:
    parser = _add(
        commands, "demo", "strip a head that comes with deskull", "deskull demo && ls deskull_demo"
    )
    parser.add_argument("folder", nargs="?", default="deskull_demo", metavar="DIR")
    _add_engine(parser)


def _add_index(commands: Any) -> None:
    parser = _add(
        commands,
        "index",
        "list the heads with masks to learn from",
        "deskull index NFBS/ -o nfbs.tsv --pictures look.png\n"
        "Knows NFBS, BIDS with derivatives, FreeSurfer, masks beside images (X_mask.nii.gz), "
        "label maps,\ntables of paths; other names by pattern:\n"
        "  --pattern '{person}_{contrast}.nii.gz' --mask-pattern '{person}_{contrast}_seg.nii.gz'",
    )
    parser.add_argument("folder", metavar="DIR", help="folder, or a TSV or CSV of paths")
    parser.add_argument("-o", "--out", required=True, metavar="TSV", help="the table")
    parser.add_argument(
        "--pattern", metavar="NAME", help="of images: {person}, {session}, {contrast}, *"
    )
    parser.add_argument(
        "--mask-pattern", metavar="NAME", help="of masks (default: common names beside images)"
    )
    parser.add_argument(
        "--pictures", metavar="PNG", help="draw every pair; pages go on in NAME-2.png"
    )


def _add_train(commands: Any) -> None:
    parser = _add(
        commands,
        "train",
        "train a network from label maps and pairs",
        "deskull train label_maps/ index.tsv --recipe segment --out runs/mine --minutes 60",
    )
    parser.add_argument("--recipe", default="segment", metavar="NAME|TOML")
    _add_run(parser)
    parser.add_argument("--device", default="auto", metavar="WHERE")


def _add_finetune(commands: Any) -> None:
    parser = _add(
        commands,
        "finetune",
        "make released weights better for your scans by a few corrected masks",
        "deskull finetune index.tsv --out runs/ours",
    )
    parser.add_argument("--weights", default="default", metavar="NAME|PATH")
    _add_run(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="index or table of pairs, folder of label maps",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="of the run; goes on there")
    parser.add_argument("--steps", type=int, metavar="N", help="from the very first")
    parser.add_argument("--minutes", type=float, metavar="M", help="of this call")
    parser.add_argument(
        "--validation", type=float, default=0.2, metavar="SHARE", help="of the persons, kept apart"
    )
    parser.add_argument(
        "--label-table", metavar="TOML", help="[labels] of your maps, such as cortex = [3, 42]"
    )
    parser.add_argument("--cache", metavar="DIR", help="of prepared heads (default: in --out)")
    parser.add_argument("-t", "--threads", type=int, metavar="N")


def _add_export(commands: Any) -> None:
    parser = _add(
        commands,
        "export",
        "make weights from training runs",
        "deskull export runs/mine --locate runs/locate --about card.json --out my_weights",
    )
    parser.add_argument("segment", metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--locate",
        metavar="RUN",
        help="run of the network that finds the brain (default: the bundled one, if needed)",
    )
    parser.add_argument(
        "--about",
        required=True,
        metavar="JSON",
        help="the words of the card: licence, population, convention, data",
    )
    parser.add_argument("--out", required=True, metavar="DIR")


def _to_frame(word: str) -> str:
    if word != "all" and not (word.isascii() and word.isdigit() and len(word) < 10):
        raise argparse.ArgumentTypeError(f"{word!r}: expected a number from 0, or all")
    return word


def _to_outputs(words: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(word.strip() for word in words.split(",")))
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r}: expected some of {', '.join(OUTPUTS)}")
    return names


def _to_shard(word: str) -> tuple[int, int]:
    parts = word.split("/")
    if len(parts) == 2 and all(part.isascii() and part.isdigit() for part in parts):
        number, count = int(parts[0]), int(parts[1])
        if 1 <= number <= count:
            return number, count
    raise argparse.ArgumentTypeError(f"{word!r}: expected I/N, such as 3/50, from 1/50 to 50/50")


def settle(options: argparse.Namespace, rest: list[str]) -> None:
    """Let IN and -i, OUT and -o be one; leave with code 2 where the use is wrong."""
    refuse = options.parser.error
    loose = options.command in ("strip", "batch")
    unknown = [word for word in rest if word.startswith("-") or not loose]
    if unknown:
        refuse(f"unrecognized arguments: {' '.join(unknown)}")
    inputs = getattr(options, "inputs", [])
    inputs += rest if options.command == "batch" else []
    if "" in (*vars(options).values(), *rest, *inputs):
        refuse("an empty argument. Is a variable of your shell not set?")
    if options.command != "strip":
        return
    # argparse takes OUT for unknown if an option stands between IN and OUT: it is in the rest
    places = [options.positional_image, options.positional_out, *rest]
    places = [place for place in places if place is not None]
    if options.image is None and places:
        options.image = places.pop(0)
    if options.out is None and places:
        options.out = places.pop(0)
    if places:
        refuse(f"one name too many: {places[0]}; expected IN [OUT], one scan at a time")
    if options.image is None:
        refuse("no scan given; try: deskull sub-01_T1w.nii.gz")
