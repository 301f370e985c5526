"""Scores as text for a reader, in percent: one set of maps by class, or several in a table."""

from collections.abc import Mapping

from common.numbers import aligned, plural
from evaluation.evaluation import Evaluation
from evaluation.intervals import few_scenes
from evaluation.metrics import BY_CLASS, MAIN, OVERALL


def table(evaluation: Evaluation) -> str:
    """Return the scores as lines of text; an absent class has no IoU and says so."""
    measured, constant = evaluation.measured, evaluation.constant
    always = f"always {evaluation.commonest}"
    width = max(len(always), *(len(metric.title) for metric in OVERALL))
    summary = [
        (metric.title, f"{percent(measured[metric.key]):>6} %{_in_brackets(evaluation.interval(metric.key))}")
        for metric in OVERALL
    ]
    baseline = ", ".join(f"{percent(constant[metric.key])} % {metric.short}" for metric in OVERALL[:2])
    summary += [
        (always, f"{'':{6 - len(percent(constant[MAIN.key]))}}{baseline}"),
        ("ratio", f"{evaluation.ratio:>6.2f} times the {MAIN.title} of always {evaluation.commonest}"),
    ]
    return "\n".join(
        [
            f"{plural(len(evaluation.matrices), 'scene')}, {measured.pixels:,} scored pixels, "
            f"{evaluation.dataset.title}",
            "",
            *_class_lines(evaluation),
            "",
            *(f"{name:<{width}}  {text}" for name, text in summary),
            *notes(evaluation),
        ]
    )


def _class_lines(evaluation: Evaluation) -> list[str]:
    measured = evaluation.measured
    heads = [f"{metric.short} %" for metric in BY_CLASS] + ["truth %"]
    columns = [measured[metric.key] for metric in BY_CLASS] + [measured.truth_share]
    lines = [f"{'class':<12}  " + "  ".join(f"{head:>7}" for head in heads)]
    for label, name in enumerate(evaluation.dataset.class_names):
        values = [percent(column[label]) for column in columns]
        if measured.absent[label]:
            values[0] = "absent"
        lines.append(f"{name:<12}  " + "  ".join(f"{value:>7}" for value in values))
    return lines


def notes(evaluation: Evaluation) -> list[str]:
    """Return what must be said beside the numbers: absent classes, and what the intervals are."""
    measured, bootstrap = evaluation.measured, evaluation.bootstrap
    names = [
        name for name, absent in zip(evaluation.dataset.class_names, measured.absent, strict=True) if absent
    ]
    lines = []
    if names:
        lines.append(f"left out of the mean: {', '.join(names)} (neither in truth nor predicted)")
    if evaluation.resampled is not None:
        level = f"{100 * bootstrap.level:g} %"
        lines.append(
            f"in brackets: {level} interval over scenes, {bootstrap.resamples} bootstrap resamples, "
            f"seed {bootstrap.seed}"
        )
        lines += filter(None, [few_scenes(len(evaluation.matrices))])
    elif bootstrap.resamples:
        lines.append("no intervals: one scene says nothing about others")
    return ["", *lines] if lines else []


def comparison(evaluations: Mapping[str, Evaluation]) -> str:
    """Return one row per set of maps: main score with its interval, others, IoU by class, all in percent."""
    first = next(iter(evaluations.values()))
    others = OVERALL[1:]
    shorts = [metric.short for metric in others]
    header = ["maps", MAIN.short, "interval", "lead", *shorts, *first.dataset.class_names]
    rows = [header]
    for name, evaluation in evaluations.items():
        measured = evaluation.measured
        iou = [
            "absent" if absent else percent(v)
            for v, absent in zip(measured["iou"], measured.absent, strict=True)
        ]
        rows.append(
            [
                name,
                percent(measured[MAIN.key]),
                _in_brackets(evaluation.interval(MAIN.key)).strip() or "-",
                "-" if evaluation is first else _lead(evaluation, first),
                *(percent(measured[metric.key]) for metric in others),
                *iou,
            ]
        )
    scenes = plural(len(first.matrices), "scene")
    title = f"{scenes}, {first.measured.pixels:,} scored pixels, {first.dataset.title}; all in percent"
    lines = [title, "", *aligned(rows), *notes(first)]
    return "\n".join([*lines, f"lead: {MAIN.title} above {next(iter(evaluations))}, on the same resamples"])


def _lead(evaluation: Evaluation, first: Evaluation) -> str:
    lead, bounds = evaluation.lead(first)
    return f"{100 * lead:+.2f}{_in_brackets(bounds, '+')}"


def between(bounds: tuple[float, float] | None, sign: str = "") -> str:
    """Return an interval as "10.00 to 20.00", in percent, nothing where there is none."""
    return "" if bounds is None else " to ".join(f"{100 * bound:{sign}.2f}" for bound in bounds)


def _in_brackets(bounds: tuple[float, float] | None, sign: str = "") -> str:
    if bounds is None:
        return ""
    low, high = (f"{100 * bound:{sign}.2f}" for bound in bounds)
    return f" [{low}, {high}]"


def percent(share: float | None) -> str:
    """Return a share in percent with two digits; `nan` where it is undefined, a dash where there is none."""
    return "-" if share is None else f"{100 * share:.2f}"
