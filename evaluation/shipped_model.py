"""A trained net to hand on: deploy net, weights, card, and a README in the form of Hugging Face's."""

import json
import re
import shutil
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from common.errors import DataError, WeightsError
from common.files import file_checksum, staged_folder
from common.settings import ConfigFile, Positive, StrictModel, read_toml, validated
from common.templates import templates
from evaluation.metrics import OVERALL
from evaluation.page.run_facts import facts, read_run
from evaluation.page.scores import ScoreFile, class_heads, class_rows, headlines, read_scores
from prototxt_gen.caffemodel import read_caffemodel, write_caffemodel
from prototxt_gen.model_card import ModelCard, card_path, read_card, write_card
from training.run import DEPLOY_FILE, WEIGHTS_FILE, Run

OF_ITS_FOLDERS = ("Records", "Held", "Weights")  # lines of a run's facts that mean nothing elsewhere
EMITTED = re.compile(r"^# Emitted by .*\n# change .*\n", re.M)  # which names files of the machine
ABOUT_FILE, README_FILE = "about.toml", "README.md"


class Licence(StrictModel):
    """The terms of the weights; `key` is Hugging Face's of a licence: `bsd-2-clause`, `other`."""

    key: str
    name: str
    terms: str


class About(ConfigFile):
    """What only people know of a trained net: what it is for, what it has seen, where it fails."""

    EXAMPLE: ClassVar[str] = "models/demo/about.toml"

    title: str
    summary: str
    metres: Positive  # of a pixel's side, in the images that it has learnt from
    data: tuple[str, ...] = Field(strict=False, min_length=1)
    scored_on: str
    limits: tuple[str, ...] = Field(strict=False, min_length=1)
    licence: Licence


def read_about(path: Path) -> About:
    """Read and check a description; ExperimentError where it cannot be read or lacks a key."""
    return validated(About, read_toml(path, "a description of weights"), path.parent.name, path)


def ship_model(folder: Path, scores_path: Path, about_path: Path, out: Path, overwrite: bool) -> int:
    """Write the folder `out` with what a run's net needs to predict, and its README; return its bytes.

    The files hold no path of the machine: weights stand by their layers' names alone.
    `folder` is that of a run whose training has ended, `scores_path` a JSON of evaluate.py for maps of scenes
    that it has not seen. Raises DataError, ExperimentError or WeightsError where one of them cannot be used,
    and OutputError where `out` exists and `overwrite` is not given.
    """
    run, scores, about = read_run(folder), read_scores(scores_path), read_about(about_path)
    card = _card(run)
    dataset = next(iter(card.tasks.values()))
    if scores.dataset != dataset.name or tuple(scores.confusion.rows_truth) != dataset.class_names:
        fact = f"holds scores of {scores.dataset}, the net has learnt {dataset.name}"
        raise DataError(scores_path, fact, "give the scores of its own maps")
    if scores.trained:
        fact = f"scores {scores.trained[0]}, which has trained the net"
        raise DataError(scores_path, fact, "score others: dfcnet evaluate with --hold-out or --split")
    with staged_folder(out, overwrite, markers=(ABOUT_FILE,)) as staged:
        deploy = EMITTED.sub("", run.deploy.read_text(encoding="utf-8"), count=1)
        (staged / DEPLOY_FILE).write_text(deploy, encoding="utf-8")
        write_caffemodel(staged / WEIGHTS_FILE, run.experiment.name, read_caffemodel(run.weights))
        write_card(staged / WEIGHTS_FILE, card)
        shutil.copyfile(about_path, staged / ABOUT_FILE)
        names = (DEPLOY_FILE, WEIGHTS_FILE, card_path(Path(WEIGHTS_FILE)).name)
        checksums = [(name, file_checksum(staged / name)) for name in names]
        text = _readme(out.name, run, card, scores, about, checksums)
        (staged / README_FILE).write_text(text, encoding="utf-8")
        return sum(path.stat().st_size for path in staged.iterdir())


def _card(run: Run) -> ModelCard:
    card = read_card(run.weights) if run.is_done() else None
    if card is None:
        raise WeightsError(
            run.weights, "is not there, or not whole", "end the training: dfcnet train --resume"
        )
    return card


def _readme(
    name: str,
    run: Run,
    card: ModelCard,
    scores: ScoreFile,
    about: About,
    checksums: list[tuple[str, str]],
) -> str:
    dataset = next(iter(card.tasks.values()))
    environment = templates("report").overlay(autoescape=False)
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.get_template("model_card.md.j2").render(
        name=name,
        about=about,
        card=card,
        dataset=dataset,
        facts=[fact for fact in facts(run) if fact[0].split()[0] not in OF_ITS_FOLDERS],
        metrics=[(metric, 100 * getattr(scores, metric.key)) for metric in OVERALL],
        headlines=headlines(scores),
        class_heads=class_heads(),
        class_rows=class_rows(scores, dict.fromkeys(dataset.class_names, "")),
        checksums=checksums,
    )
