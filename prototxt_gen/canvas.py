"""Boxes, texts and arrows of a picture, in pixels; y grows downwards."""

import re
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Line

INCH = 100  # pixels
STYLE = {"font.family": "DejaVu Sans", "font.size": 10.5 * 72 / INCH, "svg.hashsalt": "net"}
LINE_HEIGHT = 13
INK, GREY = "#2b2f38", "#6b7280"


@dataclass(frozen=True)
class Box:
    """A box by its centre, width and height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        """Left edge."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """Upper edge."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.y + self.height / 2


@dataclass
class Canvas:
    """What is drawn on, and the boxes that stand there already, by name."""

    axes: Axes
    width: int  # of the page
    boxes: dict[str, Box] = field(default_factory=dict)

    def box(self, name: str, box: Box, lines: str, colour: str, title: str = "", frame: bool = True) -> Box:
        """Draw a box with lines of text, under a bold title if there is one; return it."""
        edge = INK if frame else colour
        look = {"facecolor": colour, "edgecolor": edge, "linewidth": 0.6, "zorder": 3}
        shape = "round,pad=0,rounding_size=4"
        self.axes.add_patch(FancyBboxPatch((box.left, box.top), box.width, box.height, shape, **look))
        if title:
            above = LINE_HEIGHT / 2 * (lines.count("\n") + 1)
            self.text(box.x, box.y - above, title, "center", fontweight="bold")
        self.text(box.x, box.y + (LINE_HEIGHT / 2 if title else 0), lines, "center")
        self.boxes[name] = box
        return box

    def text(self, x: float, y: float, text: str, align: str = "left", **style: object) -> None:
        """Write lines of text, y at their middle; the x of 3x3 and x2 becomes a multiplication sign."""
        if text:
            text = re.sub(r"(?<![a-z])x(?=[\dn])", "\N{MULTIPLICATION SIGN}", text)
            look = {"ha": align, "va": "center", "color": INK, "linespacing": 1.15, "zorder": 4}
            self.axes.text(x, y, text, **look | style)

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """Draw an arrow along the points, under the boxes."""
        look = {"color": GREY, "linestyle": (0, (4, 2.5))} if dashed else {"color": INK}
        look |= {"arrowstyle": "-|>", "mutation_scale": 7, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
        self.axes.add_patch(FancyArrowPatch(path=Line(points), zorder=2, **look))

    def link(self, a: Box, b: Box, label: str = "", x: float | None = None, align: str = "left") -> None:
        """Draw a vertical arrow from box to box at `x` (default: the first's middle), its label beside it."""
        x = a.x if x is None else x
        start, end = (a.bottom, b.top) if a.y < b.y else (a.top, b.bottom)
        self.arrow((x, start), (x, end))
        self.text(x + (4 if align == "left" else -4), (start + end) / 2, label, align)
