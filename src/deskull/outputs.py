"""The table of outputs, and the table of options: one row each, read by everything that names one.

The command line, what a batch and `deskull-bids` write, the interfaces for Nipype and Pydra,
the Boutiques descriptor, shell completion and the tables of the documentation are made from these
rows. Nothing heavy is imported: an output's maker is named, and imported when it is used.

To add an output, add a row here and what it names: an attribute of `deskull.result.Result` (an
array on the scan's grid), or a function that encodes a file.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from deskull.errors import InputError, OptionError, explain_missing
from deskull.image.bids_names import BidsName
from deskull.image.file_names import WRITABLE
from deskull.settings import MAX_BORDER, MAX_THRESHOLD, MIN_THRESHOLD, Settings

NameInBids = Callable[[BidsName, str], BidsName]
"""Name of an output, from that of its image and the contrast (empty for T1w)."""


@dataclass(frozen=True, eq=False)
class Output:
    """One output of a strip.

    Parameters
    ----------
    name
        Name of the output in Python, in records, and after the stem of the scan:
        ``X_mask.nii.gz``.
    description
        Content of the output, as a phrase that follows "write".
    flags, metavar
        Options of ``deskull strip`` that request it, and the metavar of their value.
    more
        Further text of its help.
    made
        Attribute of a `Result` that holds it as an array on the scan's grid; or, for a file that
        is no image, ``module:function`` that makes its bytes of a `Result` and the ending.
    endings
        Endings that its file name may have; the first is the usual one.
    source
        Its source besides the scan: ``"mask"``, ``"network"`` (and the mask), or ``"scan"``
        (none). Only the first kind can be made from a corrected mask or that of another scan.
    usual
        Whether it is written where no output is requested.
    is_map
        Whether it takes the memory of a float32 array on the scan's grid while it is made.
    package
        Import name of an optional package that its maker needs; empty if none.
    commands
        Commands that offer it.
    bids
        Makes its name in a BIDS data set; None if it is written to ``logs/``.
    bids_ending
        Suffix of its file in BIDS; by default the first of `endings`.
    bids_folder
        Folder within that of the participant; by default that of the image.
    bids_ignore
        Pattern of its files for ``.bidsignore``, where BIDS does not know such a file.
    sidecar
        Fields of its JSON sidecar in BIDS, ``{source}`` standing for the URI of the image; None
        if it has none.

    Examples
    --------
    >>> mask = find_output("mask")
    >>> mask.option, mask.ending, mask.is_image, mask.depends_on_mask
    ('mask', '_mask.nii.gz', True, False)
    """

    name: str
    description: str
    flags: tuple[str, ...]
    made: str
    metavar: str = "FILE"
    more: str = ""
    endings: tuple[str, ...] = (".nii.gz", *(end for end in WRITABLE if end != ".nii.gz"))
    source: str = "mask"
    usual: bool = False
    is_map: bool = False
    package: str = ""
    commands: tuple[str, ...] = ("strip", "batch", "bids")
    bids: NameInBids | None = None
    bids_ending: str = ""
    bids_folder: str = ""
    bids_ignore: str = ""
    sidecar: Mapping[str, Any] | None = None

    @property
    def option(self) -> str:
        """Name of its long option, as an attribute of parsed arguments."""
        long = next(flag for flag in self.flags if flag.startswith("--"))
        return long.removeprefix("--").replace("-", "_")

    @property
    def ending(self) -> str:
        """What follows the stem of the scan in its usual name: ``_mask.nii.gz``."""
        return f"_{self.name}{self.endings[0]}"

    @property
    def is_image(self) -> bool:
        """Whether it is an array on the scan's grid, written as an image."""
        return ":" not in self.made and self.name != "record"

    @property
    def depends_on_mask(self) -> bool:
        """Whether it is made from scan and mask, and changes with the mask."""
        return self.source == "mask" and self.name != "mask"

    def encode(self, result: Any, ending: str) -> bytes:
        """Make the bytes of a file that is no image.

        Parameters
        ----------
        result
            `Result`, or the `MaskedScan` of a corrected mask.
        ending
            Suffix of the file, such as ``".png"``.
        """
        module, _, function = self.made.partition(":")
        content: bytes = getattr(import_module(module), function)(result, ending)
        return content


_REGION = {"SpatialReference": "{source}", "Manual": False}
_IN_BRAIN = "brain with the CSF of its sulci and a rim of CSF"

OUTPUTS = (
    Output(
        name="brain",
        description="the scan with everything outside of the brain set to the fill value",
        flags=("-o", "--out"),
        metavar="FILE|DIR/",
        more="; an existing file is replaced; in a folder, brain and mask are written under their "
        "usual names; the outputs below accept a folder as well",
        made="mask",
        usual=True,
        bids=lambda image, contrast: image.derive(image.suffix, desc="brain"),
        sidecar={"SkullStripped": True},
    ),
    Output(
        name="mask",
        description=f"the mask: 1 in the {_IN_BRAIN}, else 0",
        flags=("-m", "--mask"),
        made="mask",
        usual=True,
        bids=lambda image, contrast: image.derive("mask", desc=f"brain{contrast}"),
        sidecar={"Type": "Brain", **_REGION},
    ),
    Output(
        name="probability",
        description="the probability that a voxel is brain",
        flags=("-p", "--probability"),
        made="probability",
        source="network",
        is_map=True,
        bids=lambda image, contrast: image.derive(
            "probseg", label="brain", **({"desc": contrast} if contrast else {})
        ),
        sidecar=_REGION,
    ),
    Output(
        name="distance",
        description="the distance to the mask's surface in mm, negative inside",
        flags=("-d", "--distance", "--sdt"),
        made="signed_distance",
        is_map=True,
        bids=lambda image, contrast: image.derive("distance", desc=f"brain{contrast}"),
        bids_ignore="*_distance.*",
        sidecar={"Units": "mm", **_REGION},
    ),
    Output(
        name="corrected",
        description="the scan corrected for intensity non-uniformity (N4)",
        flags=("-c", "--corrected"),
        made="corrected",
        source="scan",
        is_map=True,
        package="SimpleITK",
        # a desc-preproc_T2w is to fMRIPrep a T2w image that lies on the T1w already
        bids=lambda image, contrast: image.derive(
            image.suffix, desc="preproc" if image.suffix == "T1w" else "biascorr"
        ),
        sidecar={"SkullStripped": False},
    ),
    Output(
        name="surface",
        description="the brain's surface as a closed mesh in scanner mm (GIfTI)",
        flags=("--surface",),
        made="deskull.surface:encode_surface",
        endings=(".surf.gii", ".gii"),
        is_map=True,
        package="skimage",
        bids=lambda image, contrast: image.derive("surface", desc=f"brain{contrast}"),
        bids_ignore="*.surf.gii",
    ),
    Output(
        name="picture",
        description="slices with the mask's outline as a picture, PNG or SVG",
        flags=("--picture",),
        made="deskull.result:draw_picture",
        endings=(".png", ".svg"),
        bids=lambda image, contrast: image.derive("mask", desc=f"brain{contrast}"),
        bids_ending=".svg",  # as BIDS Apps name the figures of their reports
        bids_folder="figures",
        bids_ignore="figures",
    ),
    Output(
        name="record",
        description="what was done as JSON: versions, settings, timings, volume, doubts",
        flags=("--record",),
        made="record",
        endings=(".json",),
        source="network",
    ),
)
"""Every output, in the order of help texts and tables."""

_BY_NAME = {row.name: row for row in OUTPUTS}
USUAL = tuple(row.name for row in OUTPUTS if row.usual)
"""Names of the outputs that are written where none is requested."""
RECORD = _BY_NAME["record"].ending
"""Ending of the record of a scan."""
FROM_MASK = tuple(row.name for row in OUTPUTS if row.source == "mask")
"""Names of the outputs that can be made from a scan and a mask alone."""


def find_output(name: str) -> Output:
    """Find the row of an output.

    Raises
    ------
    OptionError
        If there is no output of this name.

    Examples
    --------
    >>> find_output("mask").ending
    '_mask.nii.gz'
    """
    if name not in _BY_NAME:
        raise OptionError(f"output {name!r}; expected one of {', '.join(_BY_NAME)}.")
    return _BY_NAME[name]


def list_outputs(command: str) -> list[Output]:
    """List the outputs that a command offers.

    Examples
    --------
    >>> [row.name for row in list_outputs("strip")][:2]
    ['brain', 'mask']
    """
    return [row for row in OUTPUTS if command in row.commands]


def check_packages(names: Iterable[str]) -> None:
    """Refuse outputs that need a missing package, before any work.

    Raises
    ------
    InputError
        If a package is missing.

    Examples
    --------
    >>> check_packages(["brain", "mask"])
    """
    for row in map(find_output, names):
        if row.package and find_spec(row.package) is None:
            raise InputError(f"output {row.name}: {explain_missing(row.package)}")


def need_maps(names: Collection[str]) -> bool:
    """Whether some outputs take the memory of a map.

    Examples
    --------
    >>> need_maps(["brain", "mask"]), need_maps(["mask", "distance"])
    (False, True)
    """
    return any(_BY_NAME[name].is_map for name in names if name in _BY_NAME)


@dataclass(frozen=True)
class Option:
    """An option of the commands that strip scans.

    Parameters
    ----------
    name
        Name of the option in the interfaces and, with hyphens, on the command line.
    kind
        ``float``, ``int``, ``str``, or ``bool`` of a flag.
    metavar
        Placeholder of its value in help texts; empty for a flag.
    description
        Effect or value of the option, as a phrase.
    flags
        Options of the command line.
    default
        Default value; None if the option has none.
    low, high
        Inclusive range of a number; None where it is open.

    Examples
    --------
    >>> border = next(option for option in SETTINGS if option.name == "border")
    >>> border.default, border.low, border.high
    (0.0, -50.0, 50.0)
    """

    name: str
    kind: type
    metavar: str
    description: str
    flags: tuple[str, ...]
    default: float | str | None = None
    low: float | None = None
    high: float | None = None


SETTINGS = (
    Option(
        "border",
        float,
        "MM",
        "distance in mm by which the mask's surface is moved; positive values grow it",
        ("-b", "--border"),
        Settings.border,
        -MAX_BORDER,
        MAX_BORDER,
    ),
    Option("no_csf", bool, "", "leave out the CSF around the brain's tissue", ("--no-csf",)),
    Option(
        "fill", float, "VALUE", "intensity outside of the brain", ("-f", "--fill"), Settings.fill
    ),
    Option(
        "threshold",
        float,
        "P",
        "lowest probability of a brain voxel",
        ("--threshold",),
        Settings.threshold,
        MIN_THRESHOLD,
        MAX_THRESHOLD,
    ),
    Option("n4", bool, "", "correct intensity non-uniformity (N4) before the network", ("--n4",)),
)
"""The fields of `Settings`, as options."""

OPTIONS = (
    *SETTINGS,
    Option("frame", int, "N", "frame of a 4D scan, from 0", ("--frame",), low=0),
    Option("series", str, "N", "number of the series in a DICOM folder", ("--series",)),
    Option(
        "device",
        str,
        "WHERE",
        "device of the network: auto, cpu, cuda[:N] or mps",
        ("--device",),
        "auto",
    ),
    Option(
        "weights",
        str,
        "NAME|PATH",
        "name of a bundled set, or folder of weights",
        ("--weights",),
        "default",
    ),
    Option("threads", int, "N", "number of cores to use", ("-t", "--threads"), low=1),
)
"""Options of the interfaces for pipelines, `SETTINGS` first."""
