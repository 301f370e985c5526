"""The table of deviations comes out whole, in the report and as a page."""

import re

from evaluation.page.deviations import page, pieces, read_deviations
from tests.conftest import ROOT


def test_code_is_kept_apart():
    assert pieces("by `--scales`, or") == [("by ", False), ("--scales", True), (", or", False)]
    assert pieces("`poly`") == [("poly", True)]
    assert pieces("") == []


def test_the_page_in_the_docs_is_the_one_that_is_written():
    assert (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8") == page()


def test_the_page_has_a_line_for_each_row_and_no_mark_left_open():
    rows = [line for line in page().splitlines() if line.startswith("|")][2:]
    assert len(rows) == len(read_deviations()) > 20
    for line, row in zip(rows, read_deviations(), strict=True):
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        assert [re.sub(r"\\([*|_])", r"\1", cell).strip() for cell in cells] == list(row)
        assert all(cell.count("`") % 2 == 0 for cell in row)


def test_every_row_names_what_the_paper_says_and_what_we_do():
    for paper, ours, _ in read_deviations():
        assert paper and ours
