"""Every error that deskull raises on purpose.

DeskullError
├── InputError (also a ValueError)      something the user gave is wrong
│   ├── OptionError                     an option out of range, or an unknown choice
│   ├── ImageFileError                  a file that cannot be read as one head
│   └── GeometryError                   a grid that has no place in a scanner
├── OutputError                         a result that cannot be written
├── WeightsError                        weights that are missing, damaged or unsuitable
└── EmptyMaskError                      no brain was found

A message says where, what is wrong with its value, what was expected, and what to do.
"""


class DeskullError(Exception):
    """Root of the tree; catch this one to catch them all."""


class InputError(DeskullError, ValueError):
    """An input, option or argument is wrong."""


class OptionError(InputError):
    """An option is out of range, no known choice, or contradicts another, whatever the data.

    The command line calls it wrong use and leaves with 2, with any other error with 1.
    """


class ImageFileError(InputError):
    """A file is missing, damaged, of an unknown kind, or not one 3D image."""


class GeometryError(InputError):
    """An affine, voxel size or shape that no scan can have, or two grids that disagree."""


class OutputError(DeskullError):
    """A result cannot be written where it was asked for."""


class WeightsError(DeskullError):
    """Weights are missing, damaged, or cannot do what was asked of them."""


class EmptyMaskError(DeskullError):
    """No brain was found; nothing is written."""
