"""What a run was started with beside its settings: the first weights and the databases, by SHA-256.

They are recorded once, when the folder is made. A folder that an older version made has no record: nothing is
known of its beginning then, and nothing is refused.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import ExperimentError, RunError
from common.files import SHORT_CHECKSUM, file_checksum
from common.settings import explain_error
from data_prep.manifest import read_manifest
from prototxt_gen.experiment import Experiment
from prototxt_gen.model_card import IMAGE_DIGITS, WeightsSource, read_card

PROVENANCE_FILE = "provenance.json"
FORMER_FILE = "origins.json"  # its name in runs that version 1.0 began
ANEW = "or choose another --run"


class Provenance(BaseModel):
    """Weights in the order they are loaded, none from scratch; databases' checksums by their paths.

    A database's is that of its manifest: it is not read for it. None where the manifest holds none.
    `trained_on` as in ModelCard, with what the weights to start from were trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: tuple[WeightsSource, ...]
    databases: dict[str, str | None]
    trained_on: dict[str, str] | None = None

    @classmethod
    def of(cls, exp: Experiment, weights: Sequence[Path]) -> "Provenance":
        """Return the provenance of a run that begins now; DataError where a manifest cannot be read."""
        tasks = exp.tasks.values()
        sources = [path for task in tasks for path in (task.source, task.validation) if path]
        manifests = {path: read_manifest(Path(path)) for path in sources}
        sums = {path: manifest.get("data_mdb_sha256") for path, manifest in manifests.items()}
        provenance = [WeightsSource(name=str(path), sha256=file_checksum(path)) for path in weights]
        cards = [card for path in weights if (card := read_card(path))]
        seen = {}
        for name, task in exp.tasks.items():
            inputs = manifests[task.source].get("inputs", [])
            images = {entry["image_sha256"][:IMAGE_DIGITS] for entry in inputs}
            seen[name] = " ".join(sorted(images.union(*(card.has_seen(name) for card in cards))))
        return cls(weights=tuple(provenance), databases=sums, trained_on=seen)

    def text(self) -> str:
        """Return what a folder's file holds."""
        return self.model_dump_json(indent=1) + "\n"


def read_provenance(folder: Path) -> Provenance | None:
    """Return what the run in `folder` was started with, None without a record; RunError if it is broken."""
    path, former = Path(folder) / PROVENANCE_FILE, Path(folder) / FORMER_FILE
    path = former if former.exists() and not path.exists() else path
    try:
        return Provenance.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        fact = error.strerror if isinstance(error, OSError) else explain_error(error)[0]
        remedy = "start over with --overwrite, or remove it: what the run was started with is unknown then"
        raise RunError(path, f"cannot be read ({fact})", remedy) from error


def check_provenance(folder: Path, now: Provenance) -> None:
    """Raise ExperimentError if the run in `folder` was started with other weights or databases than `now`.

    No weights now mean those that it was started with.
    """
    recorded = read_provenance(folder)
    if recorded is None:
        return
    if now.weights and [file.sha256 for file in now.weights] != [file.sha256 for file in recorded.weights]:
        before, after = describe_weights(recorded.weights), describe_weights(now.weights)
        fact = f"was started from {before}, now --weights names {after}"
        raise ExperimentError(folder, fact, f"resume without --weights, {ANEW}")
    for path, checksum in now.databases.items():
        before = recorded.databases.get(path)
        if before and checksum and before != checksum:
            old_sum, new_sum = before[:SHORT_CHECKSUM], checksum[:SHORT_CHECKSUM]
            fact = f"was started with {path} of SHA-256 {old_sum}, now it is {new_sum}"
            raise ExperimentError(folder, fact, f"build the database again as it was, {ANEW}")


def describe_weights(weights: Sequence[WeightsSource]) -> str:
    """Return names and short checksums of weights to start from; "scratch" for none."""
    return ", ".join(f"{file.name} (SHA-256 {file.sha256[:SHORT_CHECKSUM]})" for file in weights) or "scratch"


def initial_weights(folder: Path) -> tuple[Path, ...]:
    """Return the weights that the run in `folder` started with; ExperimentError where they have changed."""
    recorded = read_provenance(folder)
    for file in recorded.weights if recorded else ():
        if not Path(file.name).is_file() or file_checksum(Path(file.name)) != file.sha256:
            fact = f"was started from {describe_weights([file])}, which is not there any more"
            raise ExperimentError(folder, fact, "name them by --weights, or start over with --overwrite")
    return tuple(Path(file.name) for file in recorded.weights) if recorded else ()
