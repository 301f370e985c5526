"""A net as a picture in the manner of the paper's Figure 1.

Height is resolution: DenseBlocks go down at the left and up at the right, dense fusion stands below.
"""

from pathlib import Path

from matplotlib.figure import Figure

from common.drawing import check_picture, drawn_with
from common.files import staged_file
from prototxt_gen.canvas import INCH, STYLE, Box, Canvas
from prototxt_gen.diagram import BLOCK, CONCAT, IMAGE, OUTPUT, SLICE, STEM, SUM, Diagram, Node, read_diagram
from prototxt_gen.layers import Net

UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}  # the same net gives the same bytes
COLOURS = {1: "#fbf3d9", 2: "#e3efd3", 4: "#c5e3d6", 8: "#b3d5e2", 16: "#b5c3e4", 32: "#c8b9de"}
ROWS = {1: 23, 2: 137, 4: 221, 8: 305, 16: 389, 32: 473}  # centre of each resolution
WIDTH, LEFT, MARGIN = 900, 60, 6  # the page; the blocks and the tasks stand between LEFT and the margin
BLOCK_HEIGHT, BAR, MAP = 52, 22, 34  # heights of blocks, of single operations, of images and scores
OVERLAP = 16  # neighbouring blocks share this much of the width, and an arrow runs there
HEAD, HEAD_PITCH, HEAD_STEP = 74, 82, 40  # a task's boxes: width, from task to task, from box to box
IMAGES, IMAGE_WIDTH, IMAGE_GAP = 55, 42, 4  # the tasks' images: left end of all, least width, space between
LETTER, LONGEST = 6.8, 10  # width of a letter of a task's name, and how many are written
FLOOR, LEVEL, PROJECTION = 528, 46, 60  # dense fusion: first row, from row to row, width of its 1x1
LEGEND, TITLE = 196, 13 * 72 / INCH  # left edge; size of the net's name, in points


def draw(net: Net, path: Path, overwrite: bool) -> None:
    """Draw a net into `path`; its extension chooses the format: .svg, .png (twice as large) or .pdf.

    Raise OutputError for another extension, and for a file that exists if not `overwrite`.
    """
    path = Path(path)
    check_picture(path, overwrite)
    with staged_file(path, overwrite) as staged, drawn_with(STYLE):
        figure(net).savefig(staged, dpi=2 * INCH, metadata=UNDATED.get(path.suffix.lower()))


def figure(net: Net) -> Figure:
    """Return the picture of a net at 100 dots per inch: 900 pixels wide, more for more than two tasks."""
    diagram = read_diagram(net)
    # Wider for each task beyond two; and what pushes the legend to the right pushes the last block with it.
    wider = HEAD_PITCH * max(0, len(diagram.of_kind(OUTPUT)) - 2) + 1.2 * (_legend_left(diagram) - LEGEND)
    width = round(WIDTH + wider)
    levels = max((len(node.blocks).bit_length() for node in diagram.of_kind(SUM)), default=0)
    height = (FLOOR + LEVEL * (levels - 1) + BAR if levels else ROWS[32] + BLOCK_HEIGHT / 2) + 6
    with drawn_with(STYLE):
        result = Figure(figsize=(width / INCH, height / INCH), facecolor="white")
        axes = result.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        page = Canvas(axes, width)
        for part in (_resolutions, _blocks, _input, _transitions, _projections, _sums, _heads, _legend):
            part(page, diagram)
    return result


def _resolutions(page: Canvas, diagram: Diagram) -> None:
    """At the left: each row's fraction of the crop, and its pixels."""
    for reduction in sorted({diagram.reduction(node) for node in diagram.nodes.values()}):
        size = (diagram.crop - 1) // reduction + 1
        box = Box(27, ROWS[reduction], 46, MAP)
        page.box(f"1/{reduction}", box, f"1/{reduction}\n{size} px", COLOURS[reduction], frame=False)


def _blocks(page: Canvas, diagram: Diagram) -> None:
    """Stem and DenseBlocks, each in a column of its own at the height of its resolution."""
    columns = diagram.of_kind(STEM, BLOCK)
    gap = 66 if diagram.deepest()[1] else 20  # room for a label on the way to the heads
    room = page.width - MARGIN - LEFT - len(diagram.of_kind(OUTPUT)) * HEAD_PITCH - gap
    pitch = (room - OVERLAP) / len(columns)
    for column, node in enumerate(columns):
        reduction = diagram.reduction(node)
        width = pitch + OVERLAP
        box = Box(LEFT + width / 2 + column * pitch, ROWS[reduction], width, BLOCK_HEIGHT)
        units = f"l = {node.units}\n" if node.kind == BLOCK else ""
        page.box(node.name, box, f"{units}{node.channels} channels", COLOURS[reduction], node.name)


def _input(page: Canvas, diagram: Diagram) -> None:
    """The tasks' images, joined on the batch axis where there are several, above the stem."""
    stem = page.boxes[diagram.of_kind(STEM)[0].name]
    images, width = diagram.of_kind(IMAGE), _image_width(diagram)
    pitch = width + IMAGE_GAP
    first = max(IMAGES + width / 2, stem.x - (len(images) - 1) / 2 * pitch)
    for number, node in enumerate(images):
        words = "\n".join(map(_short, node.name.split(" ")))
        box = page.box(node.name, Box(first + number * pitch, ROWS[1], width, MAP), words, COLOURS[1])
    for node in diagram.of_kind(CONCAT):
        joint = Box((first + box.x) / 2, ROWS[1] + 44, box.x - first + width, BAR)
        page.box(node.name, joint, "Concat, batch", COLOURS[1])
    for ends in ((IMAGE, CONCAT), (CONCAT, STEM), (IMAGE, STEM)):
        for source, target, edge in diagram.between(*ends):
            x = stem.x if target.kind == STEM else None
            page.link(page.boxes[source.name], page.boxes[target.name], "\n".join(edge.steps), x)


def _transitions(page: Canvas, diagram: Diagram) -> None:
    """Between blocks: down at the right edge, up into a Concat that stands before the block, skips."""
    for source, target, edge in diagram.between(STEM, BLOCK) + diagram.between(BLOCK, BLOCK):
        a, b = page.boxes[source.name], page.boxes[target.name]
        if target.size < source.size:
            x = a.right - OVERLAP / 2
            page.link(a, b, "\n".join(edge.steps), x, "right")
            continue
        join = Box(b.left - 19, b.y, 16, 16)
        if edge in diagram.skips():
            page.arrow((a.right, a.y), (join.left, a.y), dashed=True)
        else:
            page.box(f"Concat before {target.name}", join, "C", COLOURS[diagram.reduction(target)])
            page.arrow((join.right, b.y), (b.left, b.y))
            page.link(a, join, x=join.x)
            page.text(join.x + 4, (a.top + b.bottom) / 2, "\n".join(edge.steps))


def _projections(page: Canvas, diagram: Diagram) -> None:
    """Below the blocks: the 1x1 convolution that brings each one's output to dense fusion."""
    joined = {edge.target for edge in diagram.skips()}
    falling = {a.name for a, b, _ in diagram.between(BLOCK, BLOCK) if b.size < a.size}
    for node, _, edge in diagram.between(BLOCK, SUM):
        block = page.boxes[node.name]
        # Beside the arrows between blocks: left of them on the way down, right on the way up.
        x = block.x + 0.3 * block.width * ((node.name in joined) - (node.name in falling))
        box, colour = Box(x, FLOOR, PROJECTION, BAR), COLOURS[diagram.reduction(node)]
        page.link(block, page.box(f"1x1 of {node.name}", box, edge.steps[0], colour), x=x)


def _sums(page: Canvas, diagram: Diagram) -> None:
    """A bar for each sum of dense fusion, as wide as what it joins."""
    for node in diagram.of_kind(SUM):
        inputs = [
            (page.boxes.get(f"1x1 of {edge.source}") or page.boxes[edge.source], edge.steps)
            for edge in diagram.edges
            if edge.target == node.name
        ]
        first, *_, last = sorted(box.x for box, _ in inputs)
        y = FLOOR + LEVEL * (len(node.blocks).bit_length() - 1)
        bar = Box((first + last) / 2, y, last - first + PROJECTION, BAR)
        reduction = diagram.reduction(node)
        page.box(
            node.name,
            bar,
            f"{node.operation.split()[-1]} {node.name}, 1/{reduction}, {node.size} px",
            COLOURS[reduction],
        )
        for box, steps in inputs:
            page.link(box, bar, "".join(step for step in steps if step.startswith("x")))


def _heads(page: Canvas, diagram: Diagram) -> None:
    """At the right: the deepest feature, parted between the tasks, and each task's layers up to the crop."""
    tasks = diagram.of_kind(OUTPUT)
    deepest, steps = diagram.deepest()
    colour, start = COLOURS[diagram.reduction(deepest)], page.boxes[deepest.name]
    xs = [page.width - MARGIN - HEAD / 2 - HEAD_PITCH * number for number in reversed(range(len(tasks)))]
    y = ROWS[diagram.reduction(deepest)] + (HEAD_STEP if deepest.kind == SUM else 0)
    entry = Box((xs[0] + xs[-1]) / 2, y, xs[-1] - xs[0] + HEAD, BAR)
    several = len(tasks) > 1
    if several:
        page.box(SLICE, entry, "Slice, batch" if SLICE in diagram.nodes else "for each task", colour)
    for x, task in zip(xs, tasks, strict=True):
        first = _head(page, diagram, task, Box(x, y - HEAD_STEP * several, HEAD, BAR), colour)
        if several:
            page.link(entry, first, x=x)
    if deepest.kind == SUM:
        page.arrow((start.right, start.y), (entry.x, start.y), (entry.x, entry.bottom))
    else:
        page.arrow((start.right, start.y), (entry.left, start.y))
        page.text((start.right + entry.left) / 2, start.y - 10, "".join(steps), "center")


def _head(page: Canvas, diagram: Diagram, task: Node, first: Box, colour: str) -> Box:
    """A task's own layers, upwards from the box `first`; return that."""
    convolution, score, zoom = diagram.head(task.name)
    second = Box(first.x, first.y - HEAD_STEP, HEAD, BAR)
    last = Box(first.x, ROWS[1], HEAD, MAP)
    page.box(f"{task.name} convolution", first, convolution, colour)
    page.box(f"{task.name} score", second, score, colour)
    page.box(task.name, last, f"{_short(task.name)}\n{task.channels} classes", COLOURS[1])
    page.link(first, second)
    page.link(second, last, zoom)
    return first


def _short(name: str) -> str:
    """Return a task's name as its boxes have room for it."""
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _image_width(diagram: Diagram) -> float:
    """Return the width of the images' boxes, such that the longest name fits."""
    words = (_short(word) for node in diagram.of_kind(IMAGE) for word in node.name.split(" "))
    return max(IMAGE_WIDTH, LETTER * max(map(len, words)))


def _legend_left(diagram: Diagram) -> float:
    """Return the left edge of the legend: right of the images."""
    images = len(diagram.of_kind(IMAGE)) * (_image_width(diagram) + IMAGE_GAP)
    return max(LEGEND, IMAGES + images + IMAGE_GAP)


def _legend(page: Canvas, diagram: Diagram) -> None:
    """The net's name, and what the short words mean, in the free space between images and scores."""
    lines = [
        ("l", "layer units of a DenseBlock: BN, ReLU, Conv 1x1, BN, ReLU, Conv 3x3, Concat"),
        ("1x1, c", "BN, ReLU, Conv 1x1 to c channels"),
        ("xn", "Interp: bilinear, n times as large"),
        ("C", "Concat with the channels of the skip connection (dashed)"),
    ]
    if sums := diagram.of_kind(SUM):
        operation = sums[0].operation
        lines.append((f"{operation.split()[-1]} (a,b)", f"dense fusion: {operation} of DenseBlocks a to b"))
    if diagram.of_kind(SLICE):
        lines.append(("batch", "classmates: Concat and Slice of the tasks on the batch axis"))
    left = _legend_left(diagram)
    page.text(left, 14, diagram.name, fontweight="bold", fontsize=TITLE)
    for number, (word, meaning) in enumerate(lines):
        page.text(left, 34 + 15 * number, word, fontweight="bold")
        page.text(left + 66, 34 + 15 * number, meaning)
