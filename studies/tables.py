"""A study's results as tables: rows of text, for Markdown and for the page. All scores in percent."""

from collections.abc import Sequence
from dataclasses import dataclass

from inference.score_text import percent
from studies.arms import ARMS
from studies.conduct import ENSEMBLE, ONE_SCALE, SCALES
from studies.plan import Study
from studies.results import Results, Row

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
    """Return Table 1, the table by class and, where there is more than one scale, that of the test's ways."""
    shown = [_table_1(study, results), _by_class(results)]
    if len({row.how for row in results.rows}) > 1:
        shown.append(_by_test(study, results))
    return shown


def _table_1(study: Study, results: Results) -> Table:
    head = ["", "mIoU %", "over scenes", "lead", "over scenes and seeds", "parameters", "land crops", "paper"]
    rows = []
    for row in results.of(ONE_SCALE):
        cells = [ARMS[row.arm].title, mean_and_spread(row), between(row.interval)]
        cells += [signed(row.lead), between(row.lead_interval, "+")]
        samples, size = results.land_samples[row.arm], results.parameters[row.arm]
        cells += [f"{size:,}", f"{samples:,}", f"{PAPER[row.arm]:.2f}" if row.arm in PAPER else ""]
        rows.append(cells)
    rows.append([f"always {results.commonest}", percent(results.always), *[""] * 6])
    caption = (
        f"mIoU on {results.scenes} held-out scenes at one scale, mean ± standard deviation over "
        f"{len(study.seeds)} seeds, and the lead over {ARMS[study.arms[0]].title}. Intervals hold 95 % of "
        f"{study.test.resamples:,} bootstrap draws over scenes, or over scenes and seeds. Land crops "
        "are those that a training sees. The last column is the paper's, of its own data and size."
    )
    return Table("Table 1", caption, head, rows)


def _by_class(results: Results) -> Table:
    rows = results.of(ONE_SCALE)
    body = [[ARMS[row.arm].title, *(percent(value) for value in row.iou.values())] for row in rows]
    return Table("By class", "IoU % by class, one scale, mean over seeds.", ["", *rows[0].iou], body)


def _by_test(study: Study, results: Results) -> Table:
    test = study.test
    ways = {ONE_SCALE: "one scale", SCALES: _scales(test.scales, test.flip)}
    ways[ENSEMBLE] = f"and the {len(study.seeds)} seeds' nets together"
    hows = [how for how in ways if results.of(how)]
    by_arm = {row.arm: [] for row in results.of(ONE_SCALE)}
    for how in hows:
        for row in results.of(how):
            by_arm[row.arm].append(mean_and_spread(row))
    body = [[ARMS[arm].title, *cells] for arm, cells in by_arm.items()]
    caption = "mIoU % by the way of testing (3.3): probabilities averaged over scales, then over nets too."
    return Table("By test", caption, ["", *(ways[how] for how in hows)], body)


def _scales(scales: Sequence[float], flip: bool) -> str:
    text = "scales " + ", ".join(f"{scale:g}" for scale in scales)
    return text + (", mirrored too" if flip else "")


def mean_and_spread(row: Row) -> str:
    """Return "51.87 ± 0.30", or the mean alone where there is one seed."""
    return percent(row.mean) + ("" if row.spread is None else f" ± {percent(row.spread)}")


def signed(share: float | None) -> str:
    """Return a difference in percent with its sign, nothing where there is none."""
    return "" if share is None else f"{100 * share:+.2f}"


def between(bounds: tuple[float, float] | None, sign: str = "") -> str:
    """Return an interval in percent, nothing where there is none."""
    return "" if bounds is None else " to ".join(f"{100 * bound:{sign}.2f}" for bound in bounds)
