"""What the surroundings hold for other programs changes no result, and names are printed in any encoding."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from common.environment import SET, UNSET, UNSET_ENDING
from tests.conftest import ROOT
from tests.datasets import DATASETS
from tests.inference.pixel_net import make_pixel_net

PLACE = from_origin(500000, 5000000, 10, 10)
SAY = """
import sys
sys.path.insert(0, {tools!r})
import cli
{body}
"""


def python(body: str, redirect: str = "", **variables: str) -> subprocess.CompletedProcess:
    """Run Python code after `import cli`, as a tool begins, its streams redirected by sh."""
    code = SAY.format(tools=str(ROOT / "tools"), body=body)
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=False,
    )


def test_variables_of_other_programs_are_unset_and_those_of_threads_are_kept():
    shown = "import os; print(sorted(name for name in os.environ if 'X_TEST' in name))"
    kept = {"OMP_NUM_THREADS_X_TEST": "1", "OPENBLAS_X_TEST": "1", "CUDA_X_TEST": "1"}
    theirs = {f"{prefix}X_TEST": "1" for prefix in UNSET} | {"X_TEST_OVERVIEW": "1"}
    done = python(shown, **kept, **theirs)
    assert done.stdout == f"{sorted(kept)}\n", done.stderr
    done = python("import os; print({name: os.environ[name] for name in " + repr(list(SET)) + "})")
    assert done.stdout == f"{SET}\n"


def test_the_page_of_the_documentation_names_all_that_is_unset():
    page = (ROOT / "docs" / "environment.md").read_text()
    for beginning in (*UNSET, f"*{UNSET_ENDING}"):
        assert f"`{beginning}{'*' if beginning.endswith('_') else ''}`" in page


@pytest.mark.parametrize("module", ["caffe", "numpy", "common"])
def test_a_module_of_ours_is_not_hidden_by_one_of_pythonpath(tmp_path, module):
    (tmp_path / module).mkdir()
    (tmp_path / module / "__init__.py").write_text("raise SystemExit('another one')")
    (tmp_path / "only_there.py").write_text("")
    body = f"import importlib.util as i; import only_there; print(i.find_spec({module!r}).origin)"
    done = python(body, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout).is_relative_to(tmp_path)


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_with_closed_streams_no_file_gets_the_number_of_one(tmp_path, redirect):
    file, number = (str(tmp_path / name) for name in "fn")
    body = f"import sys; print('a'); print('b', file=sys.stderr); opened = open({file!r}, 'w')\n"
    body += f"open({number!r}, 'w').write(str(opened.fileno()))"
    done = python(body, redirect)
    assert done.returncode == 0, done.stderr
    assert int((tmp_path / "n").read_text()) > 2
    assert (tmp_path / "f").read_text() == ""


@pytest.mark.parametrize(
    "variables",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}],
)
def test_what_an_encoding_lacks_is_printed_by_its_number(variables):
    done = python("print('a \\u00d7 b \\udcff')", **variables)
    assert (done.returncode, done.stdout) == (0, "a \\xd7 b \\udcff\n"), done.stderr


HOSTILE_RC = "text.usetex: True\nfont.family: none such\nsavefig.dpi: 20\nfigure.facecolor: red\n"


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """Return a function that sets variables of other programs; their files are here and at home."""
    shutil.copytree(matplotlib.get_cachedir(), tmp_path / "home" / ".cache" / "matplotlib")  # of fonts
    other = tmp_path / "other"
    (other / "caffe").mkdir(parents=True)
    (other / "caffe" / "__init__.py").write_text("raise SystemExit('another caffe')")
    (other / "proj.db").write_bytes(b"")
    (tmp_path / "home" / ".gdal").mkdir(parents=True)
    (tmp_path / "home" / ".gdal" / "gdalrc").write_text("[configoptions]\nGDAL_NUM_THREADS=no\n")
    (tmp_path / "home" / ".config" / "matplotlib").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "home" / ".config" / "matplotlib"):
        (folder / "matplotlibrc").write_text(HOSTILE_RC)
    folders = dict.fromkeys(
        ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_DRIVER_PATH", "PYTHONPATH"), str(other)
    )
    variables = {
        **folders,
        "MPLBACKEND": "module://none.such",
        "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
        "HOME": str(tmp_path / "home"),
        "OPENCV_IO_MAX_IMAGE_PIXELS": "4",
        "GDAL_SKIP": "GTiff PNG",
        "CPL_DEBUG": "ON",
        "PYTHONIOENCODING": "ascii",
        "TMPDIR": str(tmp_path / "none"),
    }

    def surround() -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)

    return surround


@pytest.mark.caffe
def test_a_map_keeps_its_crs_its_pixels_and_its_picture_under_another_programs_environment(
    tmp_path, run_tool, hostile
):
    from prototxt_gen.model_card import ModelCard, write_card

    deploy, weights, _ = make_pixel_net(tmp_path)
    card = {"experiment": "pixel", "model": "pixel", "iteration": 0, "crop": 33, "tasks": DATASETS}
    write_card(weights, ModelCard(mean=(100, 110, 120), scale=0.02, **card))
    pixels = np.random.default_rng(5).integers(0, 256, (3, 40, 50), np.uint8)
    (tmp_path / "scenes").mkdir()
    cv2.imwrite(str(tmp_path / "scenes" / "p_sat.png"), np.moveaxis(pixels, 0, -1))
    profile = {"driver": "GTiff", "height": 40, "width": 50, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        tmp_path / "scenes" / "a_sat.tif",
        "w",
        crs="EPSG:32633",
        transform=PLACE,
        photometric="RGB",
        **profile,
    ) as file:
        file.write(pixels[::-1])
    hostile()
    done = run_tool(
        "predict.py",
        "--deploy",
        deploy,
        "--weights",
        weights,
        "--out",
        tmp_path / "maps",
        tmp_path / "scenes",
    )
    assert (done.returncode, done.stderr) == (0, "")
    with rasterio.open(tmp_path / "maps" / "a_mask.tif") as file:
        assert (file.crs.to_epsg(), file.transform) == (32633, PLACE)
        labels = file.read(1)
    png = cv2.cvtColor(cv2.imread(str(tmp_path / "maps" / "p_mask.png")), cv2.COLOR_BGR2RGB)
    palette = np.array(DATASETS["land"].palette, np.uint8)
    np.testing.assert_array_equal(png, palette[labels])


def test_pictures_do_not_depend_on_the_users_matplotlib(tmp_path, run_tool, hostile):
    hostile()
    done = run_tool("make_net.py", "dfcnet", "--draw", tmp_path / "net.svg")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "net.svg").read_text() == (ROOT / "docs" / "dfcnet.svg").read_text()


# A machine where no folder for temporary files can be written: those that Python tries, and the current one.
WITHOUT_TEMPORARY = """
mount --bind "$1" /mnt || exit 77
for folder in /tmp /var/tmp /usr/tmp; do
    test ! -d $folder || { mount --bind $folder $folder && mount -o remount,ro,bind $folder; } || exit 77
done
cd /proc && shift && exec "$@"
"""


def without_temporary_folder(folder: Path, *command: object) -> subprocess.CompletedProcess:
    """Run a command in a mount namespace of its own, with `folder` as /mnt; skip where that may not be."""
    variables = {key: value for key, value in os.environ.items() if key not in ("TMPDIR", "TEMP", "TMP")}
    words = ["unshare", "-m", "sh", "-c", WITHOUT_TEMPORARY, "sh", folder, *command]
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, env=variables, check=False, timeout=120
    )
    if done.returncode == 77 or done.stderr.startswith("unshare: "):
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    return done


@pytest.mark.caffe
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_scenes_are_mapped_where_there_is_no_temporary_folder_at_all(tmp_path):
    done = without_temporary_folder(tmp_path, sys.executable, "-c", "import tempfile; tempfile.gettempdir()")
    assert "No usable temporary directory" in done.stderr
    deploy, weights, _ = make_pixel_net(tmp_path)
    (tmp_path / "scenes").mkdir()
    pixels = np.random.default_rng(5).integers(0, 256, (40, 50, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "scenes" / "p_sat.png"), pixels)
    cv2.imwrite(str(tmp_path / "scenes" / "j_sat.jpg"), pixels)
    tool = [sys.executable, ROOT / "tools" / "predict.py", "--dataset", "deepglobe_land"]

    def files(folder: Path) -> list[Path]:
        return ["--deploy", folder / deploy.name, "--weights", folder / weights.name, folder / "scenes"]

    done = without_temporary_folder(tmp_path, *tool, *files(Path("/mnt")), "--out", "/mnt/maps")
    assert done.returncode == 0, done.stderr
    subprocess.run([*tool, *files(tmp_path), "--out", tmp_path / "expected"], check=True, capture_output=True)
    for name in ("p_mask.png", "j_mask.png"):
        assert (tmp_path / "maps" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()
