"""The page in a real browser: 10,000 photographs opened from a folder, by mouse and by keyboard, with hostile names."""

import json
import os
import re
import shutil
import time

import pytest
from conftest import write_images

from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.gallery import write_gallery
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.progress import SILENT
from glintiqa_jax.scoring.card import ModelCard
from glintiqa_jax.scoring.model import Model

pytestmark = pytest.mark.slow
PHOTOGRAPHS = 10_000
NUMBERS = ["width", "height", "score", "percent", "deviation", "low", "high"]
EMPTY = {"schema": 1} | dict.fromkeys(["path", *NUMBERS, "model", "note", "error"])
HOSTILE = [
    "<img src=x onerror='window.hacked=1'>.png",
    '"onmouseover="window.hacked=1" x=".png',
    "javascript:window.hacked=1.png",
    "&lt;b&gt;${window.hacked=1}.png",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe\n\u2028.png",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A gallery of links to 24 photographs: 0 to 100 percent, two maps, one that is gone, some that were not scored."""
    folder = tmp_path_factory.mktemp("gallery")
    names = write_images(folder / "photos", 24, size=(48, 64))
    (folder / "links").mkdir()
    tiny = VARIANTS["glintiqa_tiny"]
    model = Model(new_model(tiny), ModelCard(tiny, ScoreScale(1.0, 5.0, lower_is_better=True, unit="DMOS")))
    rows = []
    for number in range(PHOTOGRAPHS):
        percent = number * 100 / (PHOTOGRAPHS - 1)
        name = HOSTILE[number] if number < len(HOSTILE) else f"holiday {number:05d}.png"
        path = folder / "links" / name
        if number != 100:
            path.symlink_to(folder / "photos" / names[number % len(names)])
        rows.append(EMPTY | {"path": os.fspath(path), "width": 64, "height": 48, "model": model.digest})
        rows[-1] |= {"score": 5 - percent / 25, "percent": percent, "deviation": (number * 7919 % PHOTOGRAPHS) / 1e5}
        rows[-1] |= {"low": 4 - percent / 25, "high": 6 - percent / 25, "note": "<i>white</i>"}
    rows += [EMPTY | {"path": name, "error": f"{name} </script><script>window.hacked=1</script>"} for name in HOSTILE]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    write_gallery(folder / "rows.jsonl", folder / "page", model=model, maps=2, log=SILENT)
    shutil.rmtree(folder / "photos")  # it needs none of them
    return folder / "page"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'glintiqa-jax[test]'")
    names = ("chromium", "chromium-browser", "google-chrome")
    if not (program := next(filter(None, map(shutil.which, names)), None)):
        pytest.skip(f"none of {', '.join(names)} is installed: the gallery's page is not tested")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, folder):
    """Opens the page in a context of its own; at the end nothing has been said, asked for or run that should not."""
    heard, asked, pages = [], [], []

    def open_page(width=1280, height=860, **options):
        page = browser.new_context(viewport={"width": width, "height": height}, **options).new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / "index.html").as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        assert page.evaluate("window.hacked") is None
        page.context.close()
    assert heard == []
    assert [url for url in asked if not url.startswith(folder.as_uri())] == []


def names(page):
    """The tiles' names in the order that one sees them."""
    return page.evaluate(
        "[...document.querySelectorAll('.tile')].sort((a, b) => a.dataset.place - b.dataset.place)"
        ".map((tile) => tile.querySelector('.name').textContent)"
    )


def focused(page):
    return page.evaluate("document.activeElement.querySelector?.('.name')?.textContent ?? document.activeElement.id")


SEEN = """() => { const images = [...document.querySelectorAll('.tile img')];
  return images.length > 8 && images.every((image) => image.complete && image.naturalWidth); }"""


def test_ten_thousand_photographs_open_and_scroll(opened, capsys):
    start = time.perf_counter()
    page = opened()
    page.wait_for_function(SEEN)
    took = time.perf_counter() - start
    with capsys.disabled():
        print(f"\n{PHOTOGRAPHS:,} photographs open in {took:.2f} s")
    summary = page.inner_text("#summary")
    assert summary == "10,000 photographs · quality in percent, higher is better · DMOS 1 to 5, lower is better"
    assert page.inner_text("#count") == "all of 10,000"
    assert page.locator(".tile").count() < 300
    page.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    page.wait_for_function("document.querySelectorAll('.tile')[30]?.dataset.place > 3000")
    page.wait_for_function(SEEN)
    assert page.locator(".tile").count() < 300


def test_sort_search_and_filter(opened):
    page = opened()
    assert names(page)[5:7] == ["holiday 00005.png", "holiday 00006.png"]
    page.select_option("#sort", "best")
    assert names(page)[0] == "holiday 09999.png"
    page.select_option("#sort", "name_down")
    assert names(page)[1] == "holiday 09999.png"  # after the one that begins with "javascript"
    page.select_option("#sort", "uncertain")
    most = max(range(PHOTOGRAPHS), key=lambda number: number * 7919 % PHOTOGRAPHS)
    assert names(page)[0] == f"holiday {most:05d}.png"
    page.select_option("#sort", "worst")
    page.fill("#search", "0123 HOLIDAY")
    assert names(page) == [f"holiday {number:05d}.png" for number in (123, *range(1230, 1240))]
    assert page.inner_text("#count") == "11 of 10,000"
    page.fill("#search", "no such name")
    assert page.is_visible("#none")
    page.click("#reset")
    assert page.inner_text("#count") == "all of 10,000"


def test_the_histogram_filters_by_drag_click_and_slider(opened):
    page = opened()
    assert page.locator("#histogram .on").count() == 50
    box = page.locator("#histogram").bounding_box()

    def place(percent):
        return box["x"] + box["width"] * percent / 100, box["y"] + box["height"] / 2

    page.mouse.move(*place(80))
    page.mouse.down()
    page.mouse.move(*place(60), steps=4)
    page.mouse.up()
    assert page.inner_text("#count") == "2,000 of 10,000 from 60 to 80 %"
    assert names(page)[0] == "holiday 06000.png"
    page.mouse.click(*place(31))
    assert page.inner_text("#count") == "200 of 10,000 from 30 to 32 %"
    page.focus("#to")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#count") == "300 of 10,000 from 30 to 33 %"
    page.focus("#from")
    page.keyboard.press("End")  # it stops at the other end
    assert page.inner_text("#count").endswith("from 32 to 33 %")
    assert page.get_attribute("#from", "aria-label")


def test_the_keyboard_goes_everywhere(opened):
    page = opened()
    page.keyboard.press("/")
    page.keyboard.type("holiday")
    assert focused(page) == "search"
    page.keyboard.press("ArrowDown")
    assert focused(page) == "holiday 00005.png"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert float(outline.removesuffix("px")) >= 2
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert focused(page) == "holiday 00006.png"
    page.keyboard.press("ArrowDown")
    below = focused(page)
    assert int(re.search(r"\d+", below)[0]) > 8
    page.keyboard.press("ArrowUp")
    assert focused(page) == "holiday 00006.png"
    page.keyboard.press("End")
    assert focused(page) == "holiday 09999.png"
    page.keyboard.press("PageUp")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.inner_text("#name") == "holiday 00005.png"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#name") == "holiday 00007.png"
    page.keyboard.press("Escape")
    assert not page.is_visible("#viewer")
    page.wait_for_function(
        "document.activeElement.title.endsWith('holiday 00007.png')"
    )  # once the dialog says it closed
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    assert page.input_value("#search") == ""
    tile = page.locator(".tile").first
    assert tile.get_attribute("role") == "option"
    assert tile.get_attribute("aria-setsize") == "10000"


def test_a_click_opens_the_photograph_with_its_values_and_map(opened):
    page = opened()
    page.locator(".tile").first.click()
    page.wait_for_function("document.getElementById('photo').naturalWidth === 64")
    page.wait_for_function("document.getElementById('map').naturalWidth === 64")
    assert page.inner_text("#percent") == "0.0 %"
    values = page.inner_text("#values")
    for text in (
        "5 DMOS",
        "4 to 6",
        "DMOS 1 to 5, lower is better",
        "64 \N{MULTIPLICATION SIGN} 48 pixels",
        "<i>white</i>",
    ):
        assert text in values
    photo, drawn = (page.locator(name).bounding_box() for name in ("#photo", "#map"))
    assert photo == drawn
    assert round(photo["width"] / photo["height"], 2) == round(64 / 48, 2)
    assert photo["width"] > 500
    page.keyboard.press("m")
    assert not page.is_visible("#map")
    page.keyboard.press("m")
    assert page.is_visible("#map")
    for _ in range(2):
        page.click("#next")
    assert not page.is_visible("#map")
    assert "No quality map" in page.inner_text("#unmapped")
    page.click("#close")
    page.evaluate("open(100)")
    assert page.inner_text("#gone") == "the file is gone"


def test_hostile_names_are_text(opened):
    page = opened()
    assert names(page)[0] == HOSTILE[0]
    assert names(page)[4] == "\\u202egnp.exe\\n\\u2028.png"
    for number in range(len(HOSTILE)):
        page.locator(".tile").nth(number).hover()
        page.locator(".tile").nth(number).click()
        page.keyboard.press("Escape")
    page.click("#failed summary")
    page.wait_for_selector("#failed li")
    assert page.locator("#failed li").count() == len(HOSTILE)
    assert page.inner_text("#failed li >> nth=0").startswith(f"{HOSTILE[0]} {HOSTILE[0]} </script><script>")
    assert page.locator("li img, li b, li script, .name *").count() == 0


def test_dark_and_narrow(opened):
    """The system's choice, then the user's, which stays; nothing is wider than a telephone, nothing moves unasked."""
    background = "getComputedStyle(document.body).backgroundColor"
    page = opened(color_scheme="dark", reduced_motion="reduce")
    dark = page.evaluate(background)
    page.click("#theme")
    light = page.evaluate(background)
    assert sum(map(int, re.findall(r"\d+", dark))) < 150 < 600 < sum(map(int, re.findall(r"\d+", light)))
    page.reload()
    assert page.evaluate(background) == light
    assert page.get_attribute("#theme", "aria-pressed") == "false"
    assert page.evaluate("getComputedStyle(document.querySelector('.tile img')).transitionDuration") in ("0s", "")
    page = opened(width=360, height=700, has_touch=True, is_mobile=True)
    page.wait_for_function(SEEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator(".tile").nth(2).tap()
    for name in ("#photo", "#percent", "#close"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
