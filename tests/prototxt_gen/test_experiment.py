"""Experiment files: the committed ones hold the paper's numbers, a wrong one is refused in one line."""

import math
from pathlib import Path

import pytest

from common.datasets import DATASETS, read_dataset
from common.errors import ExperimentError, NetError
from prototxt_gen.experiment import experiment_path, read_experiment
from prototxt_gen.models import TRAIN, build

SOLVERS = Path(__file__).parents[2] / "solvers"
COMMITTED = sorted(SOLVERS.glob("*/experiment.toml"))
VALID = """
head_channels = 8

[input]
crop = 65
mean = [1, 2.5, 3]
scale = 0.5

[densenet]
stem_channels = 4
growth_rate = 2
bottleneck = 2
compression = 0.5
encoder_units = [1, 2, 3, 4]
decoder_units = [5, 6, 7, 8]
up_channels = 4

[fusion]
channels = 8

[tasks.road]
dataset = "deepglobe_road"
source = "road"

[tasks.land]
dataset = "deepglobe_land"
source = "land"

[solver]
batch_size = 24
ranks = 2
images_per_pass = 3
max_iter = 10
base_lr = 0.1
lr_policy = "poly"
power = 0.9
snapshot = 5
"""


def read(folder: Path, text: str):
    path = folder / "mine.toml"
    path.write_text(text)
    return read_experiment(path)


def replaced(old: str, new: str, text: str = VALID) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


def assert_refused(folder: Path, text: str, *words: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        read(folder, text)
    assert caught.value.where == str(folder / "mine.toml")
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_committed_experiments_are_valid_and_named_by_their_file(path):
    assert read_experiment(path).name == path.parent.name


@pytest.mark.parametrize(
    ("name", "batch", "tasks", "decoder_units", "passes"),
    [
        ("baseline", 32, {"land": 6}, (24, 12, 6), 4),
        ("classmate", 16, {"land": 6, "road": 2}, (24, 12, 6), 1),
        ("dfcnet", 16, {"land": 6, "road": 2}, (24, 12, 6, 4), 1),
    ],
)
def test_the_papers_experiments_hold_the_papers_numbers(name, batch, tasks, decoder_units, passes):
    exp = read_experiment(SOLVERS / name / "experiment.toml")
    assert exp.model == {"baseline": "FC-DenseNet", "classmate": "ClassmateNet", "dfcnet": "DFCNet"}[name]
    assert exp.input.crop == 1025
    assert exp.input.mean == (103.94, 116.78, 123.68)
    assert exp.input.scale == 0.017
    assert exp.densenet.stem_channels == 64
    assert exp.densenet.growth_rate == 32
    assert exp.densenet.bottleneck == 4
    assert exp.densenet.compression == 0.5
    assert exp.densenet.encoder_units == (6, 12, 24, 16)
    assert exp.densenet.decoder_units == decoder_units
    assert exp.densenet.up_channels == 256
    assert (exp.fusion and exp.fusion.channels) == (256 if name == "dfcnet" else None)
    assert {task: settings.classes for task, settings in exp.tasks.items()} == tasks
    solver = exp.solver
    assert (solver.batch_size, solver.ranks, exp.iter_size()) == (batch, 8, passes)
    assert (solver.max_iter, solver.type) == (80_000, "SGD")
    assert (solver.base_lr, solver.momentum, solver.weight_decay) == (0.001, 0.9, 0.0005)
    assert (solver.lr_policy, solver.power) == ("poly", 0.9)


def test_a_valid_file_is_read_with_its_defaults(tmp_path):
    exp = read(tmp_path, VALID)
    assert exp.name == "mine"
    assert exp.input.mean == (1, 2.5, 3)
    assert exp.task_names() == ["road", "land"]  # the file's order
    assert exp.input.bands == ("blue", "green", "red")
    assert exp.tasks["land"].dataset.class_names[:2] == ("urban", "agriculture")
    assert exp.tasks["land"].loss_weight == 1
    assert exp.densenet.bn_moving_average == 0.999


@pytest.mark.parametrize(
    ("ranks", "passes"), [(None, 2), (1, 4), (2, 2), (4, 1)]
)  # 24 images in passes of 2 tasks x 3 images
def test_a_rank_runs_as_many_passes_as_fill_the_batch(tmp_path, ranks, passes):
    assert read(tmp_path, VALID).iter_size(ranks) == passes


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        (3, "24 is not a multiple of 3 ranks x 2 tasks x 3 images_per_pass = 18"),
        (8, "8 ranks x 2 tasks x 3 images_per_pass = 48"),
        (0, "0 ranks"),
        (-2, "-2 ranks"),
    ],
)
def test_ranks_that_do_not_share_the_batch_are_refused(tmp_path, ranks, words):
    with pytest.raises(ValueError, match=words):
        read(tmp_path, VALID).iter_size(ranks)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("head_channels = 8", "head_channels = 8\nheads = 2", "heads"),
        ("crop = 65", "crop = 65\nstride = 2", "input.stride"),
        ("up_channels = 4", "up_channels = 4\ndropout = 0.2", "densenet.dropout"),
        ("snapshot = 5", "snapshot = 5\nwarmup = 1", "solver.warmup"),
        ("max_iter = 10", "max_itr = 10", "solver.max_itr"),
        ("[solver]", "[solvr]", "solvr"),
        ("[densenet]", "[DenseNet]", "DenseNet"),
        ('source = "land"', 'source = "land"\n[tests]\nx = 1', "tests"),
        ('source = "land"', 'source = "land"\nclass = 3', "tasks.land.class"),
    ],
)
def test_an_unknown_or_misspelt_key_is_named(tmp_path, old, new, key):
    assert_refused(tmp_path, replaced(old, new), f"unknown key {key};", "correct its spelling")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("\nchannels = 8", "fusion.channels"),
        ("crop = 65", "input.crop"),
        ("growth_rate = 2", "densenet.growth_rate"),
        ('dataset = "deepglobe_land"', "tasks.land.dataset"),
        ("base_lr = 0.1", "solver.base_lr"),
        ("snapshot = 5", "solver.snapshot"),
    ],
)
def test_a_missing_key_is_named(tmp_path, line, key):
    assert_refused(tmp_path, replaced(line, ""), f"key {key} is missing", "add it")


def test_a_missing_table_is_named(tmp_path):
    assert_refused(tmp_path, VALID[: VALID.index("[solver]")], "key solver is missing", "add it")


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        ("max_iter = 10", 'max_iter = "10"', "solver.max_iter = '10'; give a whole number"),
        ("max_iter = 10", "max_iter = true", "solver.max_iter = True; give a whole number"),
        ("max_iter = 10", "max_iter = 10.0", "solver.max_iter = 10.0; give a whole number"),
        ("base_lr = 0.1", 'base_lr = "0.1"', "solver.base_lr = '0.1'; give a number"),
        ("base_lr = 0.1", "base_lr = true", "solver.base_lr = True; give a number"),
        ("base_lr = 0.1", "base_lr = inf", "solver.base_lr = inf; give a finite number"),
        ("base_lr = 0.1", "base_lr = 0", "solver.base_lr = 0; give more than 0"),
        ("mean = [1, 2.5, 3]", "mean = [1, 2.5, nan]", "input.mean.2 = nan"),
        ("mean = [1, 2.5, 3]", 'mean = [1, "2.5", 3]', "input.mean.1 = '2.5'"),
        (
            "mean = [1, 2.5, 3]",
            "mean = [1, 2]",
            "mean [1.0, 2.0] has 2 values; give one for each of the bands blue, green, red",
        ),
        ("encoder_units = [1, 2,", "encoder_units = [1, 2.0,", "densenet.encoder_units.1 = 2.0"),
        ("encoder_units = [1, 2,", "encoder_units = [1, 0,", "densenet.encoder_units.1 = 0"),
        ("compression = 0.5", "compression = 1.5", "densenet.compression = 1.5"),
        ('source = "road"', "source = 3", "tasks.road.source = 3; give a text in quotes"),
        ("[fusion]\nchannels = 8", "[fusion]\nchannels = 0", "fusion.channels = 0"),
        ('lr_policy = "poly"', 'lr_policy = "cosine"', "solver.lr_policy = 'cosine'"),
        ("[tasks.road]", "[tasks.'the sea']", "'the sea' is not a name"),
    ],
)
def test_a_wrong_type_or_value_is_named(tmp_path, old, new, fact):
    assert_refused(tmp_path, replaced(old, new), fact)


@pytest.mark.parametrize(
    ("crop", "low", "high"),
    [(1000, 993, 1025), (1024, 993, 1025), (1026, 1025, 1057), (64, 33, 65), (2, 33, 65), (1, 33, 65)],
)
def test_a_crop_other_than_32k_plus_1_gets_its_neighbours_named(tmp_path, crop, low, high):
    assert_refused(
        tmp_path, replaced("crop = 65", f"crop = {crop}"), f"{crop} is not 32k+1; take {low} or {high}"
    )


@pytest.mark.parametrize("crop", [33, 65, 513, 1025])
def test_crops_of_32k_plus_1_are_taken(tmp_path, crop):
    assert read(tmp_path, replaced("crop = 65", f"crop = {crop}")).input.crop == crop


DATASET = 'dataset = "deepglobe_land"'
LAND = '[tasks.land]\ndataset = "deepglobe_land"\nsource = "land"\n'
FUSION = "[fusion]\nchannels = 8\n"
ROAD = '[tasks.road]\ndataset = "deepglobe_road"\nsource = "road"\n'


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ([(ROAD, ""), (LAND, "[tasks]\n")], ("tasks has 0 entries", "give 1 or more")),
        ([("[5, 6, 7, 8]", "[5, 6, 7]")], ("decoder_units gives 3", "give 4, which dense fusion needs")),
        ([("[5, 6, 7, 8]", "[5, 6, 7, 8, 9]")], ("decoder_units gives 5", "give 4")),
        (
            [("[5, 6, 7, 8]", "[5, 6]"), (FUSION, "")],
            ("decoder_units gives 2", "give 3 (DenseBlocks 6-8) or 4"),
        ),
        ([("= 24", "= 23")], ("batch_size 23", "2 ranks x 2 tasks x 3 images_per_pass = 12")),
        ([("= 24", "= 6")], ("batch_size 6", "2 ranks x 2 tasks x 3 images_per_pass = 12")),
        ([("power = 0.9", "")], ("solver", 'lr_policy "poly" needs power')),
        ([('"poly"', '"step"'), ("power = 0.9", "")], ('"step" needs gamma and stepsize',)),
        ([('"poly"', '"multistep"'), ("power", "gamma")], ('"multistep" needs stepvalue',)),
        ([('"poly"', '"inv"')], ('"inv" needs gamma',)),
        ([('"poly"', '"exp"')], ('"exp" needs gamma',)),
        ([('"poly"', '"sigmoid"')], ('"sigmoid" needs gamma and stepsize',)),
    ],
)
def test_parts_that_do_not_belong_together_are_named(tmp_path, edits, words):
    text = VALID
    for old, new in edits:
        text = replaced(old, new, text)
    assert_refused(tmp_path, text, *words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (DATASET, "classes = 6", ("tasks.land.classes is not to be given", 'dataset = "deepglobe_land"')),
        (DATASET, f"{DATASET}\nignore_label = 255", ("tasks.land.ignore_label is not to be given",)),
    ],
)
def test_keys_of_version_1_are_refused_with_the_new_spelling(tmp_path, old, new, words):
    assert_refused(tmp_path, replaced(old, new), *words)


def test_a_data_set_is_looked_for_beside_the_experiment(tmp_path):
    text = (DATASETS / "deepglobe_land.toml").read_text().replace("barren", "desert")
    (tmp_path / "own.toml").write_text(text)
    exp = read(tmp_path, replaced(DATASET, 'dataset = "own.toml"'))
    assert exp.tasks["land"].dataset.class_names[-1] == "desert"
    with pytest.raises(ExperimentError, match=r"missing\.toml: cannot be read"):
        read(tmp_path, replaced(DATASET, 'dataset = "missing.toml"'))


def test_a_tasks_own_resize_range_is_its_data_sets_and_nobody_elses(tmp_path):
    own = read(tmp_path, VALID.replace('source = "land"', 'source = "land"\nresize = [0.5, 1.75]'))
    assert own.tasks["land"].dataset.resize == (0.5, 1.75)
    assert own.tasks["road"].dataset.resize == (0.5, 1.5)
    noted = own.model_dump(mode="json", exclude_none=True)  # as in experiment.json
    assert type(own).model_validate(noted) == own
    with pytest.raises(ExperimentError, match=r"resize: \[2\.0, 0\.5\] is not a range; give the smaller"):
        read(tmp_path, VALID.replace('source = "land"', 'source = "land"\nresize = [2.0, 0.5]'))


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (
            'bands = ["nir", "green", "red"]',
            ("deepglobe_road has no band nir; choose from red, green, blue",),
        ),
        ('bands = ["red", "green", "red"]', ("names a band twice",)),
    ],
)
def test_bands_that_the_data_does_not_have_are_refused(tmp_path, new, words):
    assert_refused(tmp_path, replaced("crop = 65", f"crop = 65\n{new}"), *words)


def test_the_name_is_the_files_name(tmp_path):
    assert_refused(tmp_path, 'name = "other"\n' + VALID, "name", "leave it out")


@pytest.mark.parametrize("text", ["[input\n", "crop 65\n", "a = 1\na = 2\n"])
def test_what_is_not_toml_is_refused(tmp_path, text):
    assert_refused(tmp_path, text, "is not TOML", "line", "fix the file")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ExperimentError, match=r"mine\.toml: is not TOML"):
        read_experiment(tmp_path / "mine.toml")


def test_a_file_of_that_name_in_the_working_folder_is_what_may_be_meant(tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text(VALID)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExperimentError, match=r"did you mean own\.toml\? A path ends in \.toml"):
        read_experiment(experiment_path("own"))
    with pytest.raises(ExperimentError, match=r"did you mean own\.toml\?"):
        read_dataset("own")


def test_a_missing_file_lists_the_known_experiments(tmp_path):
    for name in ("two", "one"):
        (tmp_path / f"{name}.toml").write_text(VALID)
    with pytest.raises(
        ExperimentError, match=r"three\.toml: cannot be read .* \(.*/one\.toml, .*/two\.toml\)"
    ):
        read_experiment(tmp_path / "three.toml")
    with pytest.raises(ExperimentError, match="none there"):
        read_experiment(tmp_path / "nowhere" / "one.toml")


@pytest.mark.parametrize(
    "setting", ["input.crop", "input.crop=", "input.crop=33\nscale=2", "=\n", "input=[["]
)
def test_a_setting_is_one_key_and_one_value(tmp_path, setting):
    (tmp_path / "mine.toml").write_text(VALID)
    with pytest.raises(ExperimentError, match=r"^--set: cannot read .*; write table\.key=value"):
        read_experiment(tmp_path / "mine.toml", [setting])


def test_an_experiment_does_not_change(tmp_path):
    exp = read(tmp_path, VALID)
    with pytest.raises(ValueError, match="frozen"):
        exp.input.scale = math.pi


SENSELESS = [
    ("max_iter = 10", "max_iter = 3000000000", ("max_iter = 3000000000",)),
    ("crop = 65", "crop = 3200000000001", ("crop = 3200000000001",)),
    ("base_lr = 0.1", "base_lr = 1e-60", ("base_lr: 1e-60 is outside of Caffe's numbers",)),
    ("base_lr = 0.1", "base_lr = 1e60", ("base_lr: 1e+60 is outside of Caffe's numbers",)),
    ("base_lr = 0.1", "base_lr = nan", ("base_lr = nan",)),
    ("base_lr = 0.1", "base_lr = inf", ("base_lr = inf",)),
    ("base_lr = 0.1", "base_lr = 0.0", ("base_lr = 0.0",)),
    ("power = 0.9", "power = 0.9\nmomentum = 1.0", ("momentum = 1.0", "less than 1")),
    ("power = 0.9", "power = 0.9\nweight_decay = 5.0", ("weight_decay = 5.0", "less than 1")),
    ("power = 0.9", "power = 0.9\nrandom_seed = 4294967296", ("random_seed = 4294967296",)),
    ('"poly"\npower = 0.9', '"step"\nstepsize = 2\ngamma = -0.1', ("gamma -0.1 makes a learning rate",)),
    (
        '"poly"\npower = 0.9',
        '"multistep"\nstepvalue = [4, 4]\ngamma = 0.1',
        ("stepvalue [4, 4] does not rise",),
    ),
]


@pytest.mark.parametrize(("old", "new", "words"), SENSELESS, ids=lambda value: str(value)[:40])
def test_numbers_that_make_no_sense_or_do_not_fit_in_caffes_are_refused(tmp_path, old, new, words):
    assert_refused(tmp_path, replaced(old, new), *words)


@pytest.mark.parametrize("mean", ["-1.0", "255.5", "nan"])
def test_a_mean_is_a_grey_level(tmp_path, mean):
    assert_refused(tmp_path, replaced("mean = [1,", f"mean = [{mean},"), "input.mean.0 = ")


def test_what_caffe_cannot_count_is_refused_before_it_is_built(tmp_path):
    """32001 x 32001 x 64 values: Caffe would end the process."""
    exp = read(tmp_path, replaced("crop = 65", "crop = 32001"))
    with pytest.raises(NetError, match=r"has .* x .* numbers, Caffe counts from 1 to 2,147,483,647"):
        build(exp, TRAIN)
