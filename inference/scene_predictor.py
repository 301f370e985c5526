"""Scenes to maps: the files of a scene get their final names together, once all are whole."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import rasterio

from common.errors import DataError, OutputError
from common.files import short_checksum
from data_prep.geotiff import SETTINGS
from data_prep.read_options import ReadOptions
from data_prep.scene_image import SceneImage, open_image
from inference.loading import TrainedTask
from inference.prediction_manifest import publish
from inference.predictor import Predictor
from inference.scene_files import ScenePath
from inference.scene_maps import OutputOptions, SceneMaps
from prototxt_gen.model_card import IMAGE_DIGITS


@dataclass(frozen=True)
class ScenePredictor:
    """Everything that the scenes of a run have in common.

    `out` is the folder of maps, `work` one for unfinished files on the same disk. `settings` go into each
    scene's manifest. `log` gets a line where something is worth knowing, as how 16 bits became 8.
    `temperature` is that of the probabilities that are written, see `tempered`.
    """

    predictor: Predictor
    trained: TrainedTask
    out: Path
    work: Path
    outputs: OutputOptions
    read_options: ReadOptions
    settings: Mapping[str, object]
    log: Callable[[str], None] = print
    temperature: float | None = None

    def __call__(self, scene: ScenePath, advance: Callable[[int], object] = lambda pixels: None) -> None:
        """Predict one scene and write its files; `advance` gets the pixels that are done, strip by strip.

        Raises DataError for an image that cannot be used, OutputError where a file cannot be written;
        nothing of the scene is in `out` then.
        """
        begin = perf_counter()
        with rasterio.Env(**SETTINGS), open_image(scene.path, self.read_options) as image:
            notes = self._notes(scene, image)
            try:
                maps = self._predict(scene, image, notes, advance)
            except MemoryError as error:
                remedy = "give a smaller --tile, or a GeoTIFF, which is read in windows"
                raise DataError(scene.path, "does not fit in memory", remedy) from error
            names = self.outputs.names(scene.id, image.georeference is not None)
        settings = {**self.settings, "image": short_checksum(scene.path)}
        seen = settings["image"][:IMAGE_DIGITS] in self.trained.seen
        entries = {"scene": scene.path.name, "pixels": maps.shares(), "notes": notes}
        entries["has_trained"] = seen if self.trained.seen else None  # None: not known
        entries["dataset"] = self.trained.dataset.model_dump(mode="json")
        entries["seconds"] = round(perf_counter() - begin, 3)
        try:
            publish(self.out, self.work, scene.id, names, settings, **entries)
        except OSError as error:
            fact = f"cannot be written ({error.strerror})"
            raise OutputError(self.out / names[-1], fact, "choose another --out") from error

    def _notes(self, scene: ScenePath, image: SceneImage) -> list[str]:
        bands = ", ".join(self.read_options.bands)
        notes = [f"{note} ({bands})" for note in image.notes]
        for note in notes:
            self.log(f"{scene.path}: {note}")
        return notes

    def _predict(self, scene: ScenePath, image: SceneImage, notes: list[str], advance) -> SceneMaps:
        tags = {"settings": "; ".join(f"{key} {value}" for key, value in self.settings.items())}
        if notes:
            tags["input"] = "; ".join(notes)
        trained = self.trained
        maps = SceneMaps(
            self.work,
            scene.id,
            image.shape,
            image.georeference,
            trained.task,
            trained.dataset,
            self.outputs,
            tags,
            self.temperature,
        )
        try:
            for top, strip in self.predictor.strips(image):
                rows = slice(top, top + strip.shape[1])
                maps.write(top, strip, image.valid(rows))
                advance(strip.shape[1] * image.shape[1])
            maps.close()
        except BaseException:
            maps.discard()
            for path in self.work.glob("*.*"):
                path.unlink()
            raise
        return maps
