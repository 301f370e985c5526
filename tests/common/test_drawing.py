"""Pictures do not depend on a user's matplotlib, and names stand as they are written."""

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from common.drawing import FORMATS, check_picture, drawn_with
from common.errors import OutputError


def width(text: str) -> float:
    figure = Figure()
    canvas = FigureCanvasAgg(figure)
    return figure.text(0, 0, text).get_window_extent(canvas.get_renderer()).width


def test_settings_of_the_user_do_not_count_and_are_what_they_were_afterwards():
    with matplotlib.rc_context({"font.size": 40, "savefig.dpi": 7}):
        with drawn_with({"font.size": 9.0}):
            assert matplotlib.rcParams["font.size"] == 9
            assert matplotlib.rcParams["savefig.dpi"] == matplotlib.rcParamsDefault["savefig.dpi"]
        assert (matplotlib.rcParams["font.size"], matplotlib.rcParams["savefig.dpi"]) == (40, 7)


@pytest.mark.parametrize("name", ["$ {", "fields $\\frac$", "$x_$", "a_$b^"])
def test_a_dollar_in_a_name_begins_no_formula(name):
    with drawn_with({}):
        assert width(name) == pytest.approx(width(name.replace("$", "§")), rel=0.2)
        assert width("$\\alpha\\alpha$") > 3 * width("\N{GREEK SMALL LETTER ALPHA}" * 2)


def test_a_picture_that_exists_or_has_another_extension_is_refused(tmp_path):
    (tmp_path / "f.png").touch()
    with pytest.raises(OutputError, match="--overwrite"):
        check_picture(tmp_path / "f.png", overwrite=False)
    check_picture(tmp_path / "f.png", overwrite=True)
    with pytest.raises(OutputError, match=r"extension '\.bmp'"):
        check_picture(tmp_path / "f.bmp", overwrite=True)


def test_matplotlib_writes_the_formats_in_capitals_too(tmp_path):
    for extension in FORMATS:
        check_picture(tmp_path / f"F{extension.upper()}", overwrite=False)
        Figure().savefig(tmp_path / f"F{extension.upper()}")
        assert (tmp_path / f"F{extension.upper()}").stat().st_size
