"""A study's results as tables: rows of text, for Markdown and for the page. All scores in percent."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.score_text import between, percent
from studies.arms import ARMS
from studies.plan import Study
from studies.results import ArmScore, Difference, Results
from studies.runner import ENSEMBLE, ONE_SCALE, OWN_STATISTICS, SCALES

PAPER = {"baseline": 43.57, "classmate": 51.87, "dfcnet": 52.24}  # Table 1: mIoU on the validation set


@dataclass(frozen=True)
class Table:
    """A table with its caption; the first column is text, the others are numbers."""

    name: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return the table as Markdown, its caption above it."""
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        lines = (f"| {' | '.join(cells)} |" for cells in (self.head, rule, *self.rows))
        return "\n".join([self.caption, "", *lines])


def tables(study: Study, results: Results) -> list[Table]:
    """Return Table 1, the differences, IoU by class and, where there are several, the test modes."""
    shown = [_table_1(study, results), _by_class(results)]
    if results.differences:
        shown.insert(1, _differences(study, results))
    if len({row.mode for row in results.rows}) > 1:
        shown.append(_by_test(study, results))
    return shown


def _table_1(study: Study, results: Results) -> Table:
    rows = []
    for row in results.of(ONE_SCALE):
        size, crops = results.parameters[row.arm], results.crops[row.arm]
        paper = f"{PAPER[row.arm]:.2f}" if row.arm in PAPER else ""
        cells = [mean_and_spread(row), between(row.interval), f"{size:,}", f"{crops:,}", paper]
        rows.append([ARMS[row.arm].title, *cells])
    rows.append([f"always {results.commonest}", percent(results.always), *[""] * 4])
    caption = (
        f"mIoU on {results.scenes} held-out scenes at one scale{_over_seeds(study)}. The interval holds "
        f"95 % of {study.test.resamples:,} bootstrap draws of the scenes. Crops are those of the "
        "tested task that a net has seen. The last column is the paper's, of its own data and size."
    )
    head = ["", "mIoU %", "over scenes", "parameters", "crops", "paper"]
    return Table("Table 1", caption, head, rows)


def _over_seeds(study: Study) -> str:
    seeds = len(study.seeds)
    return f", mean ± standard deviation over {seeds} seeds" if seeds > 1 else ", of one training"


def _differences(study: Study, results: Results) -> Table:
    drawn = "scenes and seeds" if len(study.seeds) > 1 else "scenes alone: one seed says nothing about others"
    caption = (
        f"What each idea adds: differences of mean mIoU in points. The interval holds 95 % of "
        f"{study.test.resamples:,} bootstrap draws of {drawn}, and p is two-sided, of the same draws. "
        f"The last column is corrected for the number of differences, {len(results.differences)}, by Holm's "
        "method."
    )
    rows = []
    for difference in results.differences:
        name = f"{difference.factor}: {ARMS[difference.arm].title} less {ARMS[difference.other].title}"
        rows.append(
            [name, f"{100 * difference.mean:+.2f}", between(difference.interval, "+"), *_p_values(difference)]
        )
    return Table("Differences", caption, ["", "points", "interval", "p", "p, Holm"], rows)


def _p_values(difference: Difference) -> list[str]:
    return ["" if p is None else f"{p:.3f}" for p in (difference.p, difference.p_holm)]


def _by_class(results: Results) -> Table:
    rows = results.of(ONE_SCALE)
    body = [[ARMS[row.arm].title, *(percent(value) for value in row.iou.values())] for row in rows]
    return Table("By class", "IoU % by class, one scale, mean over seeds.", ["", *rows[0].iou], body)


def _by_test(study: Study, results: Results) -> Table:
    test = study.test
    titles = {
        ONE_SCALE: "one scale",
        OWN_STATISTICS: "one scale, BatchNorm's statistics of the tested task alone",
        SCALES: _scales(test.scales, test.flip),
        ENSEMBLE: f"and the {len(study.seeds)} seeds' nets together",
    }
    modes = [mode for mode in titles if results.of(mode)]
    by_arm = {row.arm: [] for row in results.of(ONE_SCALE)}
    for mode in modes:
        for row in results.of(mode):
            by_arm[row.arm].append(mean_and_spread(row))
    body = [[ARMS[arm].title, *cells] for arm, cells in by_arm.items()]
    caption = "mIoU % by the way of testing (3.3): probabilities averaged over scales, then over nets too."
    return Table("By test", caption, ["", *(titles[mode] for mode in modes)], body)


def _scales(scales: Sequence[float], flip: bool) -> str:
    text = "scales " + ", ".join(f"{scale:g}" for scale in scales)
    return text + (", mirrored too" if flip else "")


def mean_and_spread(row: ArmScore) -> str:
    """Return "51.87 ± 0.30", or the mean alone where there is one seed."""
    return percent(row.mean) + ("" if row.spread is None else f" ± {percent(row.spread)}")
