"""A bad mask, and a user who mends it in the viewer: by mouse alone, or by keyboard alone.

The mask is 6 mm too large all round, and its front, right, upper corner is missing. The user
moves the border back by the slider, then fills the corner on every few axial slices, drawing
along the edge of the brain, and lets the slices between be made.
"""

import math

import nibabel as nib
import numpy as np
from scipy import ndimage

from browsing import webdriver

UP, DOWN, LEFT, RIGHT = "\ue013", "\ue015", "\ue012", "\ue014"
ENTER, TAB, SHIFT, CONTROL = "\ue007", "\ue004", "\ue008", "\ue009"
TOO_LARGE_MM, CORNER_MM, DEEPER_MM = 6, 40, 10


class BadMask:
    """A mask made bad, on axes nearest to RAS+, and where its corner is missing."""

    def __init__(self, path, good):
        image = nib.as_closest_canonical(nib.load(good))
        self.good = np.asarray(image.dataobj) > 0
        self.size = np.array(image.header.get_zooms()[:3], float)
        bad = ndimage.distance_transform_edt(~self.good, self.size) <= TOO_LARGE_MM
        top = np.argwhere(self.good).max(axis=0)
        self.cut = (top - CORNER_MM / self.size).astype(int)
        bad[tuple(slice(start, None) for start in self.cut)] = False
        self.bad, self.top, self.path = bad, int(top[2]), path
        nib.Nifti1Image(bad.astype(np.uint8), image.affine).to_filename(path)

    def find_slices(self, count):
        """Axial slices to draw on: the last whole one, and more up to the top of the brain."""
        first = self.cut[2] - math.ceil((TOO_LARGE_MM + 2) / self.size[2])
        return sorted({round(z) for z in np.linspace(first, self.top, count)})

    def trace(self, z, count):
        """Corners of an area that holds what is missing: along the brain's edge, and back."""
        inner = self.cut[:2] - DEEPER_MM / self.size[:2]
        flat = self.good[:, :, z]
        corners = []
        for angle in np.linspace(-0.15, math.pi / 2 + 0.15, count):
            step = np.array([math.cos(angle), math.sin(angle)]) / self.size[:2]
            reach = [at for mm in np.arange(0, 120, 0.5) if is_in(flat, at := inner + mm * step)]
            corners.append(reach[-1] if reach else inner)
        return [*corners, inner]


def is_in(flat, place):
    at = tuple(np.round(place).astype(int))
    return all(0 <= v < n for v, n in zip(at, flat.shape, strict=True)) and bool(flat[at])


class ByMouse:
    """No key is pressed."""

    corners, slices = 14, 8

    def __init__(self, browser):
        self.browser = browser

    @property
    def chain(self):
        return webdriver.ActionChains(self.browser.driver, duration=40)

    def click(self, selector):
        self.chain.move_to_element(self.browser.find(selector)).click().perform()

    def set_border(self, mm):
        slider = self.browser.find("#border")
        width = slider.size["width"] - 16  # the knob stays within the slider
        chain = self.chain.move_to_element_with_offset(slider, round(mm / 16 * width), 0)
        chain.click().perform()

    def begin(self):
        self.click("#views [data-view=axial]")
        self.click("[data-tool=fill]")

    def go_to(self, z):
        here = self.browser.run("return deskull.scene.cross[2]")
        pane = webdriver.common.actions.wheel_input.ScrollOrigin.from_element(
            self.browser.find("#pane2")
        )
        chain = self.chain
        for _ in range(abs(z - here)):
            chain.scroll_from_origin(pane, 0, -100 if z > here else 100)
        chain.perform()

    def fill(self, line):
        places = self.browser.run(
            "const pane = deskull.panes[0], { width, height } = pane.canvas;"
            "return arguments[0].map(([u, v]) => pane.frame.toCanvas(u, v)).map(([x, y]) =>"
            " [(x - width / 2) / devicePixelRatio, (y - height / 2) / devicePixelRatio])",
            [[float(v) for v in place] for place in line],
        )
        canvas = self.browser.find("#pane2")
        chain = self.chain.move_to_element_with_offset(canvas, *map(round, places[0]))
        chain.click_and_hold()
        for place in places[1:]:
            chain.move_to_element_with_offset(canvas, *map(round, place))
        chain.release().perform()

    def interpolate(self):
        self.click("#interpolate")

    def save(self):
        self.click("#save")


class ByKeyboard:
    """No mouse is moved."""

    corners, slices = 6, 6

    def __init__(self, browser):
        self.browser = browser

    def type(self, keys, *modifiers):
        chain = webdriver.ActionChains(self.browser.driver)
        for modifier in modifiers:
            chain.key_down(modifier)
        chain.send_keys(keys)
        for modifier in modifiers:
            chain.key_up(modifier)
        chain.perform()

    def set_border(self, mm):
        for _ in range(60):
            if self.browser.run("return document.activeElement.id") == "border":
                break
            self.type(TAB)
        self.type((LEFT if mm < 0 else RIGHT) * round(abs(mm) / 0.25))

    def begin(self):
        self.type("2g")
        self.browser.run("document.activeElement.blur()")  # the slider wants the arrows itself

    def go_to(self, z):
        here = self.browser.run("return deskull.scene.cross[2]")
        self.type((UP if z > here else DOWN) * abs(z - here))

    def fill(self, line):
        for place in line:
            self.move_to(place)
            self.type(ENTER)
        self.type(ENTER)

    def move_to(self, place):
        """Large steps of 10 mm first, then by the voxel."""
        for axis, keys in ((0, RIGHT + LEFT), (1, UP + DOWN)):
            far = max(1, round(10 / self.browser.run(f"return deskull.scene.volume.size[{axis}]")))
            steps = round(place[axis]) - self.browser.run(f"return deskull.scene.cross[{axis}]")
            key, count = keys[int(steps < 0)], abs(steps)
            self.type(key * (count // far), SHIFT, CONTROL)
            self.type(key * (count % far), SHIFT)

    def interpolate(self):
        self.type("i")

    def save(self):
        self.type("s")


def mend(hand, mask):
    """Mend a mask in the viewer that is open, and save it.

    Returns
    -------
    float
        Seconds that passed on the page.
    """
    browser = hand.browser
    start = browser.run("return performance.now()")
    hand.set_border(-TOO_LARGE_MM)
    browser.wait("document.getElementById('volume').textContent.includes('not saved')")
    browser.wait("document.getElementById('said').textContent === ''")
    hand.begin()
    for number, z in enumerate(mask.find_slices(hand.slices)):
        hand.go_to(z)
        hand.fill(mask.trace(z, hand.corners))
        if number:
            hand.interpolate()
    hand.save()
    browser.wait_until_said()
    return (browser.run("return performance.now()") - start) / 1000
