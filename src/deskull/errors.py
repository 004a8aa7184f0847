"""Every error that deskull raises on purpose.

DeskullError
├── InputError (also a ValueError)      something the user gave is wrong
│   ├── OptionError                     an option out of range, or an unknown choice
│   ├── ImageFileError                  a file that cannot be read as one head
│   │   └── MaskFileError               an image that is no mask
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
    """An input, option or argument is wrong."""


class OptionError(InputError):
    """An option is out of range, no known choice, or contradicts another, whatever the data.

    The command line calls it wrong use and leaves with 2, with any other error with 1.
    """


class ImageFileError(InputError):
    """A file is missing, damaged, of an unknown kind, or not one 3D image."""


class MaskFileError(ImageFileError):
    """An image whose values are not those of a mask."""


class GeometryError(InputError):
    """An affine, voxel size or shape that no scan can have, or two grids that disagree."""


class OutputError(DeskullError):
    """A result cannot be written where it was asked for."""


class WeightsError(DeskullError):
    """Weights are missing, damaged, or cannot do what was asked of them."""


class EmptyMaskError(DeskullError):
    """No brain was found; nothing is written."""


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
    """
    module = module.partition(".")[0]
    package = _PACKAGES.get(module, module)
    if module not in EXTRAS:
        return f"{package} is not installed. Run: pip install {package}"
    line = f"pip install 'deskull[{EXTRAS[module]}]'"
    if module == "torch":
        line = f"{CPU_TORCH} (without a GPU; the plain build takes 6 GB), then {line}"
    return f"{package} is not installed. Run: {line}"
