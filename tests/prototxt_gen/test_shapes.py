"""Sizes agree with counting windows and sampling points by hand; what does not fit is named."""

import pytest

from common.errors import NetError
from prototxt_gen import shapes


def count_windows(size: int, kernel: int, pad: int, stride: int) -> int:
    """Count the windows that lie wholly inside the padded axis."""
    return sum(1 for start in range(-pad, size + pad, stride) if start + kernel <= size + pad)


def count_pooling_windows(size: int, kernel: int, pad: int, stride: int) -> int:
    """Count windows until the padded axis is covered, less those that begin in the padding behind."""
    starts = [-pad]
    while starts[-1] + kernel < size + pad:
        starts.append(starts[-1] + stride)
    return sum(1 for start in starts if not pad or start < size)


@pytest.mark.parametrize(("kernel", "pad", "stride"), [(1, 0, 1), (3, 1, 1), (7, 3, 2), (3, 0, 2), (5, 2, 3)])
def test_convolutions_have_one_output_per_whole_window(kernel, pad, stride):
    for size in range(kernel, 150):
        assert shapes.convolution(size, kernel, pad, stride) == count_windows(size, kernel, pad, stride)


@pytest.mark.parametrize(("kernel", "pad", "stride"), [(3, 1, 2), (2, 0, 2), (3, 0, 2), (2, 1, 2), (3, 1, 3)])
def test_poolings_count_the_last_partial_window(kernel, pad, stride):
    for size in range(kernel, 150):
        expected = count_pooling_windows(size, kernel, pad, stride)
        assert shapes.pooling(size, kernel, pad, stride) == expected, size


@pytest.mark.parametrize("zoom", [1, 2, 3, 4, 8])
def test_interp_keeps_the_corners_and_puts_zoom_steps_between_neighbours(zoom):
    for size in range(1, 70):
        points = {neighbour * zoom + step for neighbour in range(size - 1) for step in range(zoom)}
        assert shapes.interp(size, zoom) == len(points) + 1


def test_the_papers_crop_is_halved_to_33_and_doubled_back():
    sizes = [1025, shapes.convolution(1025, kernel=7, pad=3, stride=2)]
    sizes.append(shapes.pooling(sizes[-1], kernel=3, pad=1, stride=2))
    for _ in range(3):
        sizes.append(shapes.pooling(sizes[-1], kernel=2, stride=2))
    assert sizes == [1025, 513, 257, 129, 65, 33]
    back = [33]
    for _ in range(5):
        back.append(shapes.interp(back[-1], 2))
    assert back == sizes[::-1]


@pytest.mark.parametrize("crop", range(33, 1100, 32))
def test_every_crop_of_32k_plus_1_survives_five_halvings(crop):
    size = shapes.pooling(shapes.convolution(crop, 7, 3, 2), 3, 1, 2)
    for _ in range(3):
        size = shapes.pooling(size, 2, 0, 2)
    assert size == (crop - 1) // 32 + 1
    assert shapes.interp(size, 32) == crop


def test_concat_adds_up_one_axis():
    assert shapes.concat("c", [(1, 3, 5, 5), (1, 4, 5, 5), (1, 1, 5, 5)], 1) == (1, 8, 5, 5)
    assert shapes.concat("c", [(1, 3, 5, 5), (2, 3, 5, 5)], 0) == (3, 3, 5, 5)


def test_slices_part_one_axis():
    assert shapes.slices("s", (1, 4, 9, 9), 1, [3]) == [(1, 3, 9, 9), (1, 1, 9, 9)]
    assert shapes.slices("s", (6, 8, 9, 9), 0, [1, 3]) == [(1, 8, 9, 9), (2, 8, 9, 9), (3, 8, 9, 9)]


def test_same_is_the_one_shape():
    assert shapes.same("e", [(1, 2, 3, 3)] * 3) == (1, 2, 3, 3)


def test_a_shape_holds_the_product_of_its_axes_and_a_loss_one_value():
    assert shapes.count((2, 3, 4, 5)) == 120
    assert shapes.count(()) == 1


@pytest.mark.parametrize(
    ("call", "fact"),
    [
        (
            lambda: shapes.concat("concat_6", [(1, 3, 5, 5), (1, 4, 6, 6)], 1),
            r"\(1, 3, 5, 5\).*\(1, 4, 6, 6\)",
        ),
        (lambda: shapes.concat("concat_6", [(1, 3, 5, 5), (1, 4, 5, 5)], 0), "along axis 0"),
        (lambda: shapes.same("concat_6", [(1, 3, 5, 5), (1, 3, 9, 9)]), "Interp"),
        (lambda: shapes.slices("concat_6", (1, 4, 5, 5), 1, [4]), r"at \[4\]"),
        (lambda: shapes.slices("concat_6", (1, 4, 5, 5), 1, [0]), r"at \[0\]"),
        (lambda: shapes.slices("concat_6", (1, 4, 5, 5), 1, [2, 1]), r"at \[2, 1\]"),
    ],
)
def test_what_does_not_fit_names_the_layer_and_the_shapes(call, fact):
    with pytest.raises(NetError, match=fact) as caught:
        call()
    assert caught.value.where == "concat_6"
    assert caught.value.remedy
