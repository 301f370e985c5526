"""The report in headless Chromium: it loads, its slider moves, its numbers are those of evaluate's JSON."""

import json
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from evaluation.page.build import SceneFolders, write_report
from tests.evaluation.page.finished_run import make_finished_run

OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = make_finished_run(tmp_path_factory.mktemp("report"))
    scenes = SceneFolders(made.scenes, made.scenes, made.maps)
    write_report(made.folder, made.folder / "report.html", made.scores, scenes, 3)
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(programs.values()):  # `make test` installs them; a container image has none
        pytest.skip(f"{programs}: native/packages.sh native/packages/test.txt installs both")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "localhost,127.0.0.1")
        driver = webdriver.Chrome(options=options, service=Service(programs["chromedriver"]))
        yield driver
        driver.quit()


def show(browser, width=1200, dark=False):
    """Set up a screen; the page is then opened."""
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


@pytest.fixture
def page(browser, run):
    show(browser)
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # of what was open before
    browser.get((run.folder / "report.html").as_uri())
    return browser


def test_it_loads_without_a_complaint_and_without_the_network(page, run):
    assert page.title == "tiny: report"
    assert page.get_log("browser") == []
    assert page.execute_script("return [...document.images].every(i => i.complete && i.naturalWidth)")
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert all(url.startswith(("file:", "data:")) for url in asked)
    assert sum(url.startswith("file:") for url in asked) == 1


def left_of_the_line(page, number):
    """Return the slider's value and what the styles make of it: the cut of the map, the line's place."""
    return page.execute_script(
        "const pair = document.querySelectorAll('.pair')[arguments[0]];"
        "const at = pair.querySelector('.line').getBoundingClientRect(), all = pair.getBoundingClientRect();"
        "return [pair.querySelector('input').value, getComputedStyle(pair.querySelector('.map')).clipPath,"
        " Math.round(100 * (at.left + at.width / 2 - all.left) / all.width)]",
        number,
    )


def test_the_mouse_drags_the_line(page):
    slider = page.find_elements(By.CSS_SELECTOR, ".pair input")[1]
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", slider)
    width = slider.rect["width"]
    assert left_of_the_line(page, 1) == ["50", "inset(0px 0px 0px 50%)", 50]
    mouse = ActionChains(page, duration=50)
    mouse.move_to_element(slider).click_and_hold().move_by_offset(round(-0.3 * width), 5).perform()
    value, cut, line = left_of_the_line(page, 1)
    mouse.release().perform()
    assert int(value) == pytest.approx(20, abs=1)
    assert (cut, line) == (f"inset(0px 0px 0px {value}%)", int(value))
    assert left_of_the_line(page, 0)[0] == "50"  # the other scenes stay


def test_the_keyboard_reaches_and_moves_the_line(page):
    for _ in range(40):
        ActionChains(page).send_keys(Keys.TAB).perform()
        if page.switch_to.active_element.get_attribute("type") == "range":
            break
    slider = page.switch_to.active_element
    assert slider.get_attribute("aria-label").startswith("Scene 0:")
    outline = "return getComputedStyle(arguments[0].parentElement).outlineWidth"
    assert page.execute_script(outline, slider) == "3px"
    slider.send_keys(Keys.ARROW_RIGHT * 5)
    assert left_of_the_line(page, 0) == ["55", "inset(0px 0px 0px 55%)", 55]
    assert slider.get_attribute("aria-valuetext") == "55 % image"
    slider.send_keys(Keys.HOME)
    assert left_of_the_line(page, 0) == ["0", "inset(0px 0px 0px 0%)", 0]


def test_truth_takes_the_place_of_the_map(page):
    def seen():
        return [
            page.find_element(By.CSS_SELECTOR, f".pair .{name}").value_of_css_property("visibility")
            for name in ("map", "truth")
        ]

    assert seen() == ["visible", "hidden"]
    page.find_element(By.CSS_SELECTOR, "input[value=map]").send_keys(Keys.ARROW_RIGHT)
    assert seen() == ["hidden", "visible"]


def cells(page, table):
    rows = page.find_elements(By.CSS_SELECTOR, f"#{table} tbody tr")
    return {
        row.find_element(By.TAG_NAME, "th").text: [td.text for td in row.find_elements(By.TAG_NAME, "td")]
        for row in rows
    }


def in_percent(share):
    return "-" if share is None else f"{100 * share:.2f}"


def test_the_numbers_are_those_of_the_score_file(page, run):
    numbers = json.loads(run.scores.read_text())
    shown = [b.text for b in page.find_elements(By.CSS_SELECTOR, ".headlines b")]
    keys = ("miou", "accuracy", "frequency_weighted_iou")
    assert shown == [in_percent(numbers[key]) for key in keys]
    bounds = [small.text for small in page.find_elements(By.CSS_SELECTOR, ".headlines small")]
    assert bounds == [" to ".join(map(in_percent, numbers["intervals"][key])) for key in keys]
    by_class = cells(page, "classes")
    assert list(by_class) == list(numbers["iou"])
    for name, values in by_class.items():
        low_high = numbers["intervals"]["iou"][name]
        expected = [numbers[key][name] for key in ("precision", "recall", "f1", "truth_share")]
        assert values[2:] == [in_percent(value) for value in expected]
        assert values[0] == ("absent" if name == "barren" else in_percent(numbers["iou"][name]))
        assert values[1] == (" to ".join(map(in_percent, low_high)) if low_high else "")
    matrix = cells(page, "confusion")
    for name, pixels in zip(numbers["confusion"]["rows_truth"], numbers["confusion"]["pixels"], strict=True):
        shares = [count / sum(pixels) if sum(pixels) else None for count in pixels[:-1]]
        assert matrix[name] == [*map(in_percent, shares), f"{sum(pixels):,}"]
    captions = [figure.text for figure in page.find_elements(By.CSS_SELECTOR, ".scene figcaption")]
    for caption, (id, scene) in zip(captions, numbers["by_scene"].items(), strict=True):
        miou, accuracy = in_percent(scene["miou"]), in_percent(scene["accuracy"])
        assert caption == f"{id} mIoU {miou} %, accuracy {accuracy} %"


def test_a_phone_scrolls_down_only_and_letters_stay_legible(page):
    show(page, width=360)
    page.refresh()
    assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    smallest = page.execute_script(
        "return Math.min(...[...document.querySelectorAll('p, dd, dt, td, th, small, label, .chart text')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize) *"
        " (e.ownerSVGElement ? e.getScreenCTM().a : 1)))"
    )
    assert smallest >= 10
    for target in page.find_elements(By.CSS_SELECTOR, ".choice label, nav a"):
        assert target.size["height"] >= 24  # WCAG 2.2, target size


CONTRAST = """
const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
const over = (colours) => {
  canvas.clearRect(0, 0, 1, 1);
  for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const luminance = (rgb) => rgb.map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const worst = [10, ""];
const texts = "h1, h2, p, a, dt, dd, th, td, small, label, li, code, .key, text";
for (const e of document.querySelectorAll(texts)) {
  if (!e.textContent.trim()) continue;
  const behind = [];
  for (let x = e; x; x = x.parentElement) behind.unshift(getComputedStyle(x).backgroundColor);
  const style = getComputedStyle(e), ink = e.ownerSVGElement ? style.fill : style.color;
  const [a, b] = [luminance(over(behind)), luminance(over([...behind, ink]))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < worst[0]) [worst[0], worst[1]] = [ratio, e.tagName + ": " + e.textContent.trim().slice(0, 40)];
}
return worst;
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_in_light_and_in_dark(page, dark):
    """Contrast of at least 4.5 (WCAG 2, level AA) everywhere; the page is bright or dark as asked."""
    show(page, dark=dark)
    page.refresh()
    ratio, where = page.execute_script(CONTRAST)
    assert ratio >= 4.5, where
    colour = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))
    assert (brightness < 150) == dark
