"""Tables of a study, as a reader sees them."""

import json
from pathlib import Path

from evaluation.score_text import between
from studies.arms import CONTRASTS
from studies.plan import read_study
from studies.report import time_spent
from studies.results import ArmScore, Difference, Results
from studies.runner import ENSEMBLE, ONE_SCALE, SCALES
from studies.tables import tables

SMALL, _ = read_study(Path(__file__).parents[2] / "studies/small.toml")
IOU = dict.fromkeys(("urban", "agriculture", "rangeland", "forest", "water", "barren"), 0.25)


def results() -> Results:
    rows = []
    for mode, seeds in ((ONE_SCALE, 3), (SCALES, 3), (ENSEMBLE, 1)):
        for number, arm in enumerate(SMALL.arms):
            mious = tuple(0.3 + number / 100 + seed / 50 for seed in range(seeds))
            rows.append(ArmScore(arm, mode, mious, (0.25, 0.375), IOU))
    differences = [Difference(*contrast, 0.0205, (-0.01, 0.05), 0.012, 0.0965) for contrast in CONTRASTS]
    sizes = dict.fromkeys(SMALL.arms, 1234567)
    return Results(rows, differences, sizes, dict.fromkeys(SMALL.arms, 5600), 47, "agriculture", 0.0922)


def test_the_tables_hold_the_numbers_in_percent():
    first, differences, by_class, by_test = tables(SMALL, results())
    assert first.rows[1] == ["ClassmateNet", "33.00 ± 2.00", "25.00 to 37.50", "1,234,567", "5,600", "51.87"]
    assert first.rows[-1] == ["always agriculture", "9.22", "", "", "", ""]
    assert differences.rows[0] == [
        "both ideas of the paper: DFCNet less Baseline",
        "+2.05",
        "-1.00 to +5.00",
        "0.012",
        "0.097",
    ]
    assert by_class.rows[0] == ["Baseline", *["25.00"] * 6]
    assert by_test.head[1:] == [
        "one scale",
        "scales 0.75, 1, 1.25, mirrored too",
        "and the 4 seeds' nets together",
    ]
    assert by_test.rows[2] == ["DFCNet", "34.00 ± 2.00", "34.00 ± 2.00", "32.00"]
    for table in (first, differences, by_class, by_test):
        assert {len(row) for row in table.rows} == {len(table.head)}


def test_one_seed_has_no_spread_and_says_what_its_intervals_leave_out():
    study = SMALL.model_copy(update={"seeds": (1,)})
    captions = " ".join(table.caption for table in tables(study, results()))
    assert "one training" in captions
    assert "one seed says nothing about others" in captions
    assert "1 seeds" not in captions


def test_a_table_is_markdown():
    text = tables(SMALL, results())[0].markdown()
    assert "| --- | ---: | ---: | ---: | ---: | ---: |\n| Baseline | 32.00 ± 2.00 |" in text


def test_nothing_stands_for_no_interval():
    assert (between(None), between((0.1, 0.2)), between((-0.1, 0.2), "+")) == (
        "",
        "10.00 to 20.00",
        "-10.00 to +20.00",
    )


def test_the_time_is_that_of_the_log_whose_last_line_may_be_torn(tmp_path):
    steps = [{"what": "train", "gpus": 0, "seconds": 3000.0}, {"what": "map", "seconds": 600.0}]
    text = "".join(json.dumps(step) + "\n" for step in steps)
    (tmp_path / "log.jsonl").write_text(text + '{"what": "tr')
    assert time_spent(tmp_path / "log.jsonl") == [
        ("Trained on", "the CPU"),
        ("Time of the steps", "1.0 hours"),
    ]
    (tmp_path / "log.jsonl").write_text(text + json.dumps({"gpus": 8, "seconds": 0}) + "\n")
    assert time_spent(tmp_path / "log.jsonl")[0] == ("Trained on", "the CPU and 8 GPU(s)")
