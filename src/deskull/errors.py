"""Every error that deskull raises on purpose.

DeskullError
├── InputError (also a ValueError)      something the user gave is wrong
│   ├── OptionError                     an option out of range, or an unknown choice
│   ├── ImageFileError                  a file that cannot be read as one head
│   │   ├── MaskFileError               an image that is no mask
│   │   └── SeriesError                 DICOM of several images, of which one must be chosen
│   └── GeometryError                   a grid that has no place in a scanner
├── OutputError                         a result that cannot be written
├── WeightsError                        weights that are missing, damaged or unsuitable
└── EmptyMaskError                      no brain was found

A message says where, what is wrong with its value, what was expected, and what to do.
"""


class DeskullError(Exception):
    """Root of the tree; catch this one to catch them all.

    Examples
    --------
    >>> from deskull.image.volume import load_volume
    >>> try:
    ...     load_volume("no_such_scan.nii.gz")
    ... except DeskullError as error:
    ...     print(type(error).__name__)
    ImageFileError
    """


class InputError(DeskullError, ValueError):
    """An input, option or argument is wrong.

    Examples
    --------
    >>> try:
    ...     raise InputError("scan.nii.gz: a single slice; expected a 3D image.")
    ... except ValueError as error:
    ...     print(error)
    scan.nii.gz: a single slice; expected a 3D image.
    """


class OptionError(InputError):
    """An option is out of range, no known choice, or contradicts another, whatever the data.

    The command line calls it wrong use and leaves with 2, with any other error with 1.

    Examples
    --------
    >>> from deskull.settings import Settings
    >>> Settings(threshold=2)
    Traceback (most recent call last):
    deskull.errors.OptionError: threshold 2; expected a probability from 0.001 to 0.999. ...
    """


class ImageFileError(InputError):
    """A file is missing, damaged, of an unknown kind, or not one 3D image.

    Examples
    --------
    >>> from deskull.image.volume import load_volume
    >>> load_volume("missing.nii.gz")
    Traceback (most recent call last):
    deskull.errors.ImageFileError: missing.nii.gz: no such file.
    """


class MaskFileError(ImageFileError):
    """An image whose values are not those of a mask.

    Examples
    --------
    >>> issubclass(MaskFileError, ImageFileError)
    True
    """


class SeriesError(ImageFileError):
    """DICOM of several images, of which one must be chosen.

    Examples
    --------
    >>> issubclass(SeriesError, ImageFileError)
    True
    """


class GeometryError(InputError):
    """An affine, voxel size or shape that no scan can have, or two grids that disagree.

    Examples
    --------
    >>> import numpy as np
    >>> from deskull.image.grid import Grid
    >>> Grid((4, 4, 4), np.zeros((4, 4)))
    Traceback (most recent call last):
    deskull.errors.GeometryError: last row of affine [0.0, 0.0, 0.0, 0.0]; expected 0, 0, 0, 1.
    """


class OutputError(DeskullError):
    """A result cannot be written where it was requested.

    Examples
    --------
    >>> from deskull.image.writing import check_output_path
    >>> check_output_path("brain.docx", [])
    Traceback (most recent call last):
    deskull.errors.OutputError: brain.docx: cannot write this kind of file; ...
    """


class WeightsError(DeskullError):
    """Weights are missing, damaged, or cannot do what was requested.

    Examples
    --------
    >>> from deskull.network.weights import load_weights
    >>> load_weights("no-such-set")
    Traceback (most recent call last):
    deskull.errors.WeightsError: no-such-set: no such weights; expected one of ...
    """


class EmptyMaskError(DeskullError):
    """No brain was found; nothing is written.

    Examples
    --------
    >>> import numpy as np
    >>> from deskull.image.grid import make_ras_grid
    >>> from deskull.surface import make_surface
    >>> make_surface(np.zeros((4, 4, 4)), make_ras_grid((0, 0, 0), (4, 4, 4), 1.0))
    Traceback (most recent call last):
    deskull.errors.EmptyMaskError: surface: the mask is empty; expected a brain.
    """


CPU_TORCH = "pip install torch --index-url https://download.pytorch.org/whl/cpu"
_PACKAGES = {
    "PIL": "pillow",
    "nrrd": "pynrrd",
    "dask_jobqueue": "dask-jobqueue",
    "skimage": "scikit-image",
}
EXTRAS = {
    **dict.fromkeys(("torch", "pandas", "onnx", "onnxscript", "matplotlib"), "train"),
    **dict.fromkeys(("distributed", "dask_jobqueue"), "cluster"),
    **{"SimpleITK": "n4", "h5py": "minc", "backports": "zstd", "skimage": "surface"},
    "ipyniivue": "notebook",
    **{name: name for name in ("openvino", "tensorboard", "nipype", "pydra")},
}


def explain_missing(module: str) -> str:
    """Say that a package is not installed, and what to type.

    Parameters
    ----------
    module
        Import name of the missing module, such as ``"PIL"``.

    Examples
    --------
    >>> explain_missing("PIL")
    'pillow is not installed. Run: pip install pillow'
    """
    module = module.partition(".")[0]
    package = _PACKAGES.get(module, module)
    if module not in EXTRAS:
        return f"{package} is not installed. Run: pip install {package}"
    line = f"pip install 'deskull[{EXTRAS[module]}]'"
    if module == "torch":
        line = f"{CPU_TORCH} (without a GPU; the plain build takes 6 GB), then {line}"
    return f"{package} is not installed. Run: {line}"
