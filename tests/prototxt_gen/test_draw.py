"""The pictures: everything legible, nothing on top of anything else, arrows beside boxes and words."""

from functools import cache
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.transforms import Bbox

from common.errors import OutputError
from prototxt_gen.draw import COLOURS, draw, figure
from prototxt_gen.experiment import read_experiment
from prototxt_gen.layers import Net
from prototxt_gen.models import DEPLOY, TRAIN, build

SOLVERS = Path(__file__).parents[2] / "solvers"
THREE_TASKS = (
    "tasks.buildings_and_sheds={dataset='deepglobe_road', source='b', class_weights=[1, 2]}",
    "solver.batch_size=24",
)
NETS = [
    *((name, TRAIN, None) for name in ("baseline", "classmate", "dfcnet", "dfcnet_demo")),
    *((name, DEPLOY, None) for name in ("classmate", "dfcnet")),
    ("dfcnet", DEPLOY, ("road",)),
    ("dfcnet", TRAIN, None, *THREE_TASKS),
    ("dfcnet", DEPLOY, None, *THREE_TASKS),
    ("classmate", TRAIN, None, *THREE_TASKS),
]
TIMES = "\N{MULTIPLICATION SIGN}"


def net(name: str, phase: str = TRAIN, tasks: tuple[str, ...] | None = None, *settings: str) -> Net:
    return build(read_experiment(SOLVERS / name / "experiment.toml", settings), phase, tasks)


@cache
def picture(*which) -> Figure:
    """Return the picture of a net, laid out."""
    result = figure(net(*which))
    FigureCanvasAgg(result).draw()
    return result


def artists(drawn: Figure) -> tuple[list, list, list]:
    axes = drawn.axes[0]
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    return axes.texts, boxes, arrows


def overlap(a: Bbox, b: Bbox) -> bool:
    return min(a.x1, b.x1) > max(a.x0, b.x0) and min(a.y1, b.y1) > max(a.y0, b.y0)


def inside(a: Bbox, b: Bbox) -> bool:
    return a.x0 >= b.x0 and a.x1 <= b.x1 and a.y0 >= b.y0 and a.y1 <= b.y1


def segments(arrow: FancyArrowPatch) -> list[Bbox]:
    """Return the boxes around an arrow's strokes, its head's included; the long ones are level or upright."""
    path = arrow.get_transform().transform_path(arrow.get_path())
    ends = zip(path.vertices, path.vertices[1:], path.codes[1:], strict=False)
    boxes = [
        Bbox([np.minimum(a, b), np.maximum(a, b)]).padded(0.5)  # a line has a width
        for a, b, code in ends
        if code == path.LINETO
    ]
    assert all(min(box.width, box.height) < 5 for box in boxes)
    return boxes


@pytest.mark.parametrize("which", NETS)
def test_no_two_boxes_and_no_two_texts_overlap_and_none_leaves_the_page(which):
    drawn = picture(*which)
    texts, boxes, _ = artists(drawn)
    for group in (texts, boxes):
        extents = [(artist, artist.get_window_extent()) for artist in group]
        assert len(extents) > 20
        for (one, a), (other, b) in combinations(extents, 2):
            assert not overlap(a, b), (one, other)
        assert all(inside(extent, drawn.bbox) for _, extent in extents)


@pytest.mark.parametrize("which", NETS)
def test_every_text_is_in_a_box_or_beside_all_boxes(which):
    texts, boxes, _ = artists(picture(*which))
    filled = set()
    for text in texts:
        extent = text.get_window_extent()
        touched = [box for box in boxes if overlap(extent, box.get_window_extent())]
        assert all(inside(extent, box.get_window_extent()) for box in touched), text
        assert len(touched) <= 1, text
        filled |= set(touched)
    assert filled == set(boxes)  # no box without words


@pytest.mark.parametrize("which", NETS)
def test_arrows_run_neither_through_boxes_nor_through_words(which):
    drawn = picture(*which)
    texts, boxes, arrows = artists(drawn)
    obstacles = [(artist, artist.get_window_extent()) for artist in [*texts, *boxes]]
    assert len(arrows) > 10
    for arrow in arrows:
        strokes = segments(arrow)
        assert max(max(stroke.width, stroke.height) for stroke in strokes) > 6  # more than the head
        for artist, extent in obstacles:
            # The tip touches its box, by about a line's width.
            core = extent.padded(-1.5)
            assert not [stroke for stroke in strokes if overlap(stroke, core)], artist


@pytest.mark.parametrize("which", NETS)
def test_words_are_legible_at_a_page_width_of_900_pixels_for_two_tasks(which):
    drawn = picture(*which)
    assert (drawn.bbox.width == 900) == (len(which) == 3)
    for text in artists(drawn)[0]:
        assert text.get_fontsize() * drawn.dpi / 72 >= 9, text
        lines = text.get_text().count("\n") + 1
        assert text.get_window_extent().height / lines >= 9, text


def test_the_picture_of_dfcnet_says_what_the_paper_does():
    words = {text.get_text() for text in artists(picture("dfcnet", TRAIN, None))[0]}
    for block, units, channels in [
        *((2, 6, 256), (3, 12, 512), (4, 24, 1024), (5, 16, 1024)),
        *((6, 24, 2048), (7, 12, 1152), (8, 6, 704), (9, 4, 448)),
    ]:
        assert {f"DenseBlock {block}", f"l = {units}\n{channels} channels"} <= words
    assert {"1/1\n1025 px", "1/2\n513 px", "1/4\n257 px", "1/8\n129 px", "1/16\n65 px"} <= words
    assert {"sum (2,3), 1/4, 257 px", "sum (4,5), 1/16, 65 px", "sum (6,7), 1/8, 129 px"} <= words
    assert {"sum (8,9), 1/2, 513 px", "sum (2,5), 1/4, 257 px", "sum (2,9), 1/2, 513 px"} <= words
    assert {"Concat, batch", "Slice, batch", "land\n6 classes", "road\n2 classes"} <= words
    assert {f"1{TIMES}1, 256", f"3{TIMES}3, 256", f"{TIMES}2", f"{TIMES}4"} <= words
    assert {f"1{TIMES}1, 512\navg pool", "max pool", "C"} <= words  # the x of a word stays


@pytest.mark.parametrize("name", ["baseline", "classmate"])
def test_pictures_without_fusion_have_no_sum_and_the_baseline_no_batch_axis(name):
    words = [text.get_text() for text in artists(picture(name, TRAIN, None))[0]]
    assert not [word for word in words if "sum" in word or "DenseBlock 9" in word]
    assert bool([word for word in words if "batch" in word]) == (name == "classmate")
    assert f"{TIMES}4" in words  # scores at 1/4


def test_a_png_is_twice_the_page_width_and_shows_each_resolutions_colour(tmp_path):
    draw(net("dfcnet"), tmp_path / "new" / "net.png", overwrite=False)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["net.png"]
    pixels = cv2.imread(str(tmp_path / "new" / "net.png"))[..., ::-1]
    assert pixels.shape[1] == 1800
    assert (pixels[[0, -1]] == 255).all()
    for colour in COLOURS.values():
        expected = np.round(np.array(to_rgb(colour)) * 255)
        assert (pixels == expected).all(axis=2).sum() > 5000, colour


@pytest.mark.parametrize(("name", "start"), [("a.svg", b"<?xml"), ("a.PDF", b"%PDF"), ("a.png", b"\x89PNG")])
def test_the_extension_chooses_the_format_and_a_net_gives_the_same_bytes(tmp_path, name, start):
    draw(net("baseline"), tmp_path / name, overwrite=False)
    first = (tmp_path / name).read_bytes()
    assert first.startswith(start)
    draw(net("baseline"), tmp_path / name, overwrite=True)
    assert (tmp_path / name).read_bytes() == first


@pytest.mark.parametrize("name", ["net.bmp", "net", "net.svg.gz"])
def test_an_unknown_extension_names_the_file_and_those_that_are_known(tmp_path, name):
    with pytest.raises(OutputError, match=rf"{name}: has the extension .*; use one of \.svg, \.png, \.pdf"):
        draw(net("baseline"), tmp_path / name, overwrite=True)
    assert not list(tmp_path.iterdir())


def test_a_file_that_exists_is_kept_without_overwrite(tmp_path):
    path = tmp_path / "net.svg"
    path.write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        draw(net("baseline"), path, overwrite=False)
    assert path.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        draw(net("baseline"), tmp_path / "file" / "net.svg", overwrite=False)
