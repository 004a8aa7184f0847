"""The colours of pictures and pages, one place each.

Pages cannot import Python: ``templates/base.css`` and the viewer's ``slices.js`` repeat what they
need, and a test compares them with this module.
"""

RGB = tuple[int, int, int]

OUTLINE_COLOUR: RGB = (255, 96, 32)
"""Outline of a mask: orange, which colour-blind readers distinguish from grey."""

OVER_COLOUR: RGB = (255, 106, 31)
MISSED_COLOUR: RGB = (64, 156, 255)
"""Voxels only in the prediction, and only in the reference: orange and blue, which colour-blind
readers distinguish."""

CANVAS_GREY, HEADING_GREY, TEXT_GREY = 24, 165, 240
"""Brightness of the background, of headings and of other text."""
