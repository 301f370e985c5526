"""Curves land where their numbers say."""

import pytest

from evaluation.page.charts import BOTTOM, HEIGHT, LEFT, MAX_POINTS, RIGHT, TOP, WIDTH, charts


def points(line):
    return [tuple(map(float, point.split(","))) for point in line.points.split()]


def test_points_lie_on_the_scale_of_the_ticks():
    [chart] = charts({"land loss": {0: 2.0, 50: 1.0, 100: 0.0}})
    assert [(tick.text, tick.at) for tick in chart.across][:: len(chart.across) - 1] == [
        ("0", LEFT),
        ("100", WIDTH - RIGHT),
    ]
    assert (chart.up[0].text, chart.up[0].at) == ("0", HEIGHT - BOTTOM)
    assert (float(chart.up[-1].text), chart.up[-1].at) == (2, TOP)
    middle = ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2)
    assert points(chart.lines[0]) == [(LEFT, TOP), middle, (WIDTH - RIGHT, HEIGHT - BOTTOM)]


def test_tasks_share_a_chart_and_kinds_do_not():
    curves = {"land loss": {1: 1.0}, "lr": {1: 0.1}, "road loss": {1: 3.0}, "land mIoU": {1: 0.4}}
    found = charts(curves)
    assert [chart.title for chart in found] == ["Loss", "Validation mIoU", "Learning rate"]
    assert [[line.name for line in chart.lines] for chart in found] == [["land", "road"], ["land"], ["lr"]]
    assert [line.last for line in found[0].lines] == ["1", "3"]


def test_a_long_curve_is_thinned_but_keeps_its_ends():
    [chart] = charts({"lr": {i: float(i) for i in range(10_000)}})
    drawn = points(chart.lines[0])
    assert len(drawn) == MAX_POINTS
    assert drawn == sorted(drawn, key=lambda point: point[0])
    assert drawn[0] == (LEFT, HEIGHT - BOTTOM)
    assert drawn[-1][0] == pytest.approx(WIDTH - RIGHT, abs=0.1)


def test_a_curve_of_zeros_is_drawn_at_the_bottom():
    [chart] = charts({"lr": {5: 0.0}})
    assert points(chart.lines[0])[0][1] == HEIGHT - BOTTOM
