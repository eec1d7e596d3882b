"""The demo in a real Chromium: Debian's, through Playwright."""

from __future__ import annotations

import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from skindiff.demo.app import DemoApp, launch_demo
from skindiff.demo.config import DemoConfig
from skindiff.demo.settings import page_settings, settings_bytes
from skindiff.report.pictures import SampleRow
from skindiff.report.write import Report, write_report
from skindiff.training.ddpm import build_ddpm
from tests.accessibility import SCREENS, VIEWS, serious_problems, unfold
from tests.browser import FLAGS, PATIENCE, chromium, playwright
from tests.demo.conftest import files_in, phantom
from tests.evaluation.made_up import make_cells
from tests.report.test_write import small_report
from tests.tiny_generators import tiny_ddpm_config

HOSTILE = (
    "<script>alert(1)<_script>",
    "**bold** | pipe",
    "[click](http:__x)",
    "<img src=x onerror=alert(1)>",
)
"""Names of classes that a folder may have."""
DOWNLOAD = "Download images, provenance and settings (zip)"
SEED = "#generate-seed :is(textarea, input)"
LAPTOP = {"width": 1366, "height": 900}


@pytest.fixture
def page(browser: playwright.Browser, demo: DemoApp) -> Iterator[playwright.Page]:
    context = browser.new_context(viewport=LAPTOP, accept_downloads=True)
    found = opened(context, demo)
    yield found
    context.close()


def opened(context: playwright.BrowserContext, demo: DemoApp) -> playwright.Page:
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(demo.local_url)
    button(page, "Generate").wait_for()
    return page


def button(page: playwright.Page, name: str) -> playwright.Locator:
    return page.get_by_role("button", name=name, exact=True).and_(page.locator(":visible"))


def images(page: playwright.Page, gallery: str) -> playwright.Locator:
    return page.locator(f"#{gallery} .grid-wrap img")


def go_to(page: playwright.Page, name: str) -> None:
    """Choose a page, out of the menu where the screen is too narrow for all tabs."""
    tab = page.get_by_role("tab", name=name).and_(page.locator(":visible"))
    if tab.count() == 0:
        page.locator(".overflow-menu > button").click()
        tab = page.locator(".overflow-dropdown button", has_text=name)
    tab.first.click()


def on_photograph_page(page: playwright.Page) -> None:
    go_to(page, "Photograph")
    button(page, "Transfer").wait_for()


def upload_until(page: playwright.Page, path: Path, said: playwright.Locator) -> None:
    """Upload a file; again if the page was there but not yet listening, which no hand is fast enough for."""
    for patience in (PATIENCE // 8, PATIENCE // 8, PATIENCE):
        page.locator("#photograph-photograph input[type=file]").set_input_files(str(path))
        try:
            said.wait_for(timeout=patience)
        except playwright.TimeoutError:
            if patience == PATIENCE:
                raise
        else:
            return


def test_draw_by_class_and_download(page: playwright.Page, tmp_path: Path):
    assert "Not for clinical use" in page.locator(".sd-notice").inner_text()
    playwright.expect(button(page, DOWNLOAD)).to_be_disabled()
    playwright.expect(button(page, "Cancel")).to_be_disabled()
    button(page, "Generate").click()
    page.get_by_text("6 images in").wait_for()
    playwright.expect(images(page, "drawn")).to_have_count(6)
    playwright.expect(page).to_have_url(re.compile(r"tab=generate&.*condition=red\+lesion.*seed=0"))
    with page.expect_download() as download:
        button(page, "Download 6 images, provenance and settings (zip)").click()
    download.value.save_as(kept := tmp_path / "got.zip")
    names = zipfile.ZipFile(kept).namelist()
    assert {"provenance.csv", "settings.json", "contact-sheet.png"} <= set(names)
    assert sum(name.startswith("images/") for name in names) == 6
    # What all share is said once over them; who does not see an image hears all of it.
    assert page.locator(".sd-shared").and_(page.locator(":visible")).inner_text() == "type V · red lesion"
    alt = re.compile(r"^type V · red lesion · ITA .* · seed 0$")
    playwright.expect(images(page, "drawn").first).to_have_attribute("alt", alt)
    playwright.expect(page.locator("#drawn .thumbnail-lg").first).to_have_attribute("aria-label", alt)
    page.get_by_text("Make these images again").click()
    page.get_by_text("What the words mean").click()
    assert serious_problems(page) == []
    # The address opens the page as it was; a stranger's is read with its bounds.
    address = page.url.replace("seed=0", "seed=9223372036854775807").replace("red+lesion", "two")
    page.goto(address.replace("generator=tiny", "generator=ddpm"))
    page.get_by_text("as in the page's address").wait_for()
    page.get_by_text("It knows one, two.").wait_for()  # of the generator in the address
    assert page.locator("#generate-condition input").input_value() == "two"
    assert page.locator("#generate-skin_type input").input_value() == "any"
    page.get_by_text("Generation settings").and_(page.locator(":visible")).first.click()
    assert page.locator(SEED).input_value() == "9223372036854775807"
    page.goto(page.url.replace("steps=14", "steps=many"))
    page.get_by_text("steps in the address is no number").wait_for()


def test_a_refusal_stands_in_the_line_and_marks_one_field(page: playwright.Page):
    page.get_by_text("Generation settings").and_(page.locator(":visible")).first.click()
    seed = page.locator(SEED)
    seed.fill("1.5 <b>bold</b>")
    button(page, "Generate").click()
    line = page.locator(".sd-failed").and_(page.locator(":visible"))
    playwright.expect(line).to_contain_text("seed: '1.5 <b>bold</b>' is no whole number")
    marked = "one => getComputedStyle(document.getElementById(one)).outlineStyle"
    fields = ("generate-seed", "generate-condition", "generate-steps", "generate-generator")
    assert [page.evaluate(marked, one) for one in fields] == ["solid", "none", "none", "none"]
    assert page.get_by_test_id("toast-body").count() == 0
    assert page.locator(".error:visible").count() == 0
    assert serious_problems(page) == []
    assert page.get_by_text("0 of").count() == 0
    playwright.expect(button(page, "Cancel")).to_be_disabled()
    seed.fill("")
    button(page, "Generate").click()
    page.get_by_text(re.compile(r"6 images in .* s, seed \d+")).wait_for()
    assert page.evaluate(marked, "generate-seed") == "none"


def test_one_click_for_all_types_and_the_results_of_a_visit(page: playwright.Page, tmp_path: Path):
    playwright.expect(button(page, "Vary the chosen image")).to_be_disabled()
    button(page, "Generate").click()
    page.get_by_text("6 images in").wait_for()
    button(page, "All six types from one seed").click()
    playwright.expect(images(page, "drawn").nth(5)).to_have_attribute("alt", re.compile("seed 0 · type VI"))
    playwright.expect(page.locator("#generate-skin_type input")).to_have_value("all skin types")
    page.get_by_text("This visit").and_(page.locator(":visible")).click()
    playwright.expect(images(page, "generate-visit")).to_have_count(2)
    page.set_viewport_size({"width": 900, "height": 850})
    types = [image.bounding_box() for image in images(page, "drawn").all()]
    assert len({round(place["y"]) for place in types}) == 1  # a row for each condition, at every width
    assert len({round(place["x"]) for place in types}) == 6
    sheets = images(page, "generate-visit")
    first, second = (sheet.bounding_box() for sheet in sheets.all())
    assert second["x"] > first["x"] + first["width"] > 200
    assert (
        sheets.first.evaluate(
            "one => Math.abs(one.width / one.height - one.naturalWidth / one.naturalHeight)"
        )
        < 0.05
    )
    page.set_viewport_size(LAPTOP)
    page.get_by_text("Generation settings").and_(page.locator(":visible")).first.click()
    (tmp_path / "settings.json").write_bytes(
        settings_bytes(page_settings("generate", generator="ddpm", condition="two", skin_type="V"))
    )
    given = page.locator("input[type=file][accept='.json']").first
    given.set_input_files(str(tmp_path / "settings.json"))
    about = page.get_by_text("It knows one, two.")
    about.wait_for()
    playwright.expect(page.locator("#generate-skin_type input")).to_have_value("any")
    images(page, "generate-visit").nth(1).click()
    playwright.expect(page.locator("#generate-skin_type input")).to_have_value("V (dark brown)")
    playwright.expect(about).to_have_count(0)
    assert page.locator("#generate-skin_type input").is_editable()
    button(page, "Vary the chosen image").click()
    page.get_by_text("Choose an image first").wait_for()
    images(page, "drawn").nth(2).click()
    preview = page.locator("#drawn .preview")
    strip, image = preview.locator(".thumbnails"), preview.locator("img").first
    playwright.expect(strip).to_be_visible()
    page.wait_for_timeout(500)
    assert serious_problems(page) == []
    assert strip.bounding_box()["y"] >= image.bounding_box()["y"] + image.bounding_box()["height"]
    button(page, "Vary the chosen image").click()
    page.get_by_text("the noise stays").wait_for()
    playwright.expect(page.locator("#generate-skin_type input")).to_have_value("III (medium)")
    button(page, "Generate").click()
    page.get_by_text("1 image in").wait_for()
    playwright.expect(preview).to_have_count(0)
    button(page, "Random seed").click()
    playwright.expect(page.locator(SEED)).to_have_value(re.compile(r"[1-9]\d*"))


def test_upload_and_transfer(page: playwright.Page, photograph: Path):
    on_photograph_page(page)
    button(page, "Transfer").scroll_into_view_if_needed()
    button(page, "Transfer").click()
    refused = page.locator(".sd-failed").and_(page.locator(":visible"))
    playwright.expect(refused).to_contain_text("upload a photograph first, or choose one of the phantoms")
    playwright.expect(refused).to_be_in_viewport()
    upload_until(page, photograph, page.get_by_text("its metadata is removed"))
    button(page, "Transfer").click()
    page.locator(".sd-ita svg").wait_for()
    playwright.expect(images(page, "redrawn")).to_have_count(6)
    playwright.expect(page.locator("#slider img").first).to_be_visible()
    assert len(page.locator("#redrawn .caption-label").all_inner_texts()) == 6
    before, after = (image.get_attribute("alt") or "" for image in page.locator("#slider img").all())
    assert before.startswith("original · ITA")
    assert after.startswith("type VI · red lesion · ITA")
    assert serious_problems(page) == []
    page.get_by_text("This visit").and_(page.locator(":visible")).click()
    playwright.expect(images(page, "photograph-visit")).to_have_count(1)
    first = [image.get_attribute("src") for image in images(page, "redrawn").all()]
    condition = page.locator("#photograph-condition input")
    condition.fill("eczema")
    condition.press("Enter")
    images(page, "photograph-visit").click()
    page.get_by_text("Transfer makes the same again of the same photograph").wait_for()
    playwright.expect(condition).to_have_value("red lesion")
    button(page, "Transfer").click()
    playwright.expect(images(page, "photograph-visit")).to_have_count(2)
    # A file has the name of its content.
    assert [image.get_attribute("src") for image in images(page, "redrawn").all()] == first
    slider = page.get_by_label("Before and after")
    slider.focus()
    slider.press("ArrowRight")
    assert page.locator(".sd-slider").evaluate("one => one.style.getPropertyValue('--at')") == "51%"
    small = images(page, "redrawn").first.bounding_box()
    images(page, "redrawn").first.click()
    large = page.locator("#redrawn .preview img").first
    large.wait_for()
    page.wait_for_timeout(500)
    assert large.bounding_box()["width"] > 1.5 * small["width"]
    page.get_by_role("button", name="Ring, type II").click()
    playwright.expect(condition).to_have_value("red lines")  # what it shows, in a field that is seen
    playwright.expect(condition).to_be_visible()
    playwright.expect(page.locator("#slider")).to_be_hidden()
    playwright.expect(page.locator("#redrawn img")).to_have_count(0)
    playwright.expect(page.locator(".sd-ita")).to_have_count(0)


@pytest.mark.slow
def test_compare_follows_a_typed_second_generator(
    browser: playwright.Browser, generators: list[str], tmp_path: Path
):
    app = launch_demo(DemoConfig(generators=["bundled"], port=None, threads=1), wait=False)
    context = browser.new_context(viewport=LAPTOP)
    page = opened(context, app)
    go_to(page, "Compare")
    compare = button(page, "Compare")
    playwright.expect(compare).to_be_disabled()
    page.get_by_text("type its folder or Hub id right there").wait_for()
    second = page.locator("#compare-second input")

    def enter(word: str) -> None:
        second.fill(word)
        second.press("Enter")

    enter(str(tmp_path))
    refused = page.locator(".sd-failed").and_(page.locator(":visible"))
    playwright.expect(refused).to_contain_text(f"second generator '{tmp_path}'")
    marked = "one => getComputedStyle(document.getElementById(one)).outlineStyle"
    assert [page.evaluate(marked, one) for one in ("compare-generator", "compare-second")] == [
        "none",
        "solid",
    ]
    enter(generators[2])
    page.get_by_text("It knows one, two.").wait_for()
    playwright.expect(page.locator("#compare-condition input")).to_have_value("one")
    playwright.expect(compare).to_be_enabled()
    enter("bundled")
    playwright.expect(compare).to_be_disabled()
    context.close()
    app.close(verbose=False)


def test_cancel(page: playwright.Page):
    count = page.get_by_label("number input for Images of each").and_(page.locator(":visible"))
    count.fill("48")
    count.press("Enter")
    page.get_by_text("Generation settings").and_(page.locator(":visible")).first.click()
    steps = page.get_by_label("number input for Steps").and_(page.locator(":visible"))
    steps.fill("100")
    steps.press("Enter")
    button(page, "Generate").click()
    page.get_by_text(re.compile(r"([2468]|1[02]) of 48")).wait_for()
    playwright.expect(button(page, DOWNLOAD)).to_be_disabled()
    button(page, "Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    page.wait_for_timeout(3000)
    download = page.get_by_role("button", name=re.compile(r"Download \d+ of 48 \(zip\)"))
    playwright.expect(download).to_be_enabled()
    with page.expect_download():
        download.click()
    playwright.expect(button(page, "Cancel")).to_be_disabled()
    assert 1 <= images(page, "drawn").count() < 48
    page.get_by_text("Cancelled.").wait_for()


def test_bad_uploads_are_refused_in_words(
    page: playwright.Page, corrupt: Path, oversized: Path, tmp_path: Path
):
    on_photograph_page(page)
    upload_until(page, corrupt, page.locator(".sd-status").get_by_text("This photograph is damaged"))
    page.screenshot(path=tmp_path / "damaged.png")
    page.reload()
    button(page, "Generate").wait_for()
    on_photograph_page(page)
    page.get_by_text("JPEG, PNG or WebP, up to 0.2 MB").wait_for()
    said = page.get_by_text(re.compile(r"exceed the maximum allowed size of 204\.8 Kb"))  # the same
    named = oversized.rename(tmp_path / "<b>bold<_b>.png")
    upload_until(page, named, said.first)
    playwright.expect(page.get_by_test_id("toast-text").locator("b")).to_have_count(0)
    page.screenshot(path=tmp_path / "refused.png")


@pytest.mark.parametrize(("screen", "scheme"), VIEWS)
def test_every_page_fits_the_screen_and_is_for_everyone(
    browser: playwright.Browser, demo: DemoApp, tmp_path: Path, screen: str, scheme: str
):
    width, height = SCREENS[screen]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.add_init_script(COUNT_SHIFTS)
    page = opened(context, demo)
    page.wait_for_timeout(500)
    assert page.evaluate("shifts") < 0.1  # what Core Web Vitals call good
    hidden = "getComputedStyle(document.querySelector('.gradio-container')).animationName"
    assert page.evaluate(hidden) == "none"  # not shown by the rule for what never comes alone
    made = {
        "Generate": ("Generate", "#again summary"),
        "Photograph": ("Transfer", "#slider img >> nth=0"),
        "Compare": ("Compare", ".sd-table"),
    }
    for name in ("Generate", "Photograph", "Compare", "Report"):
        page.get_by_role("tab", name=name).and_(page.locator(":visible")).click()  # hidden on no screen
        if name == "Photograph":
            page.get_by_role("button", name="Ring, type II").click()
            page.get_by_text("Press Transfer.").wait_for()
        if name in made:
            button(page, made[name][0]).click()
            page.locator(made[name][1]).wait_for()
        page.wait_for_timeout(500)
        unfold(page)
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.evaluate(LEAST_ROOM_OF_ARROWS) >= 20
        if name == "Compare" and screen == "desk":
            for row in (("generator", "second"), ("condition", "skin_type", "images")):
                places = [page.locator(f"#compare-{field}").bounding_box() for field in row]
                assert len({round(place["y"]) for place in places if place}) == 1  # aligned
        assert serious_problems(page) == []
    assert page.locator("#report iframe").content_frame.get_by_text("A made-up run").is_visible()
    page.get_by_role("combobox", name="Run").focus()
    assert page.evaluate(FOCUS) == ["solid", "3px"]  # of a dropdown around its text and its arrow
    local = (demo.local_url, "data:", "blob:")
    assert [url for url in asked if not url.startswith(local)] == []
    context.close()


FOCUS = """(() => {
  const around = getComputedStyle(document.activeElement.closest(".wrap:has(> .wrap-inner)"));
  return [around.outlineStyle, around.outlineWidth];
})()"""

LEAST_ROOM_OF_ARROWS = """Math.min(Infinity, ...[...document.querySelectorAll(".wrap-inner input")]
  .filter(one => one.offsetParent).map(one => parseFloat(getComputedStyle(one).paddingRight)))"""
"""How many pixels a dropdown's text keeps from its end, where its arrow is."""

COUNT_SHIFTS = """
window.shifts = 0;
new PerformanceObserver(list => { for (const one of list.getEntries()) shifts += one.value; })
  .observe({type: "layout-shift", buffered: true});
"""


FOREIGN = """<!doctype html><title>elsewhere</title><script>
const tries = async (where) => {
  const form = new FormData();
  form.append("files", new Blob(["x"]), "foreign.jpg");
  const headers = {"Content-Type": "text/plain"}, body = '{"data": [], "session_hash": "x"}';
  const ways = {
    config: ["config", {}],
    opaque: ["config", {mode: "no-cors"}],
    upload: ["gradio_api/upload", {method: "POST", body: form}],
    blind: ["gradio_api/upload", {method: "POST", body: form, mode: "no-cors"}],
    join: ["gradio_api/queue/join", {method: "POST", headers, body, mode: "no-cors"}],
    login: ["gradio_api/upload", {method: "POST", body: form, credentials: "include"}],
  };
  const found = {};
  for (const [name, [path, options]] of Object.entries(ways))
    found[name] = await fetch(where + path, options).then(
      got => `${got.type} ${got.status}`, () => "refused");
  found.image = await new Promise(done => {
    const image = new Image();
    image.onload = () => done("shown");
    image.onerror = () => done("refused");
    image.src = where + "favicon.ico";
  });
  return found;
};
</script>"""


@pytest.fixture
def own_browser(browser: playwright.Browser) -> Iterator[Callable[..., playwright.Browser]]:
    """Opens a browser with flags of its own."""
    opened = []

    def launch(*flags: str) -> playwright.Browser:
        found = browser.browser_type.launch(executable_path=chromium(), args=[*FLAGS, *flags])
        opened.append(found)
        return found

    yield launch
    for one in opened:
        one.close()


@pytest.fixture
def foreign() -> Iterator[int]:
    """The port of a page that is not the demo's, and wants to use it."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(FOREIGN.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "elsewhere.example"])
def test_a_page_of_another_origin_gets_nothing(
    demo: DemoApp, foreign: int, tmp_path: Path, name: str, own_browser: Callable[..., playwright.Browser]
) -> None:
    browser = own_browser(f"--host-resolver-rules=MAP {name} 127.0.0.1")
    page = browser.new_page()
    seen: dict[str, int] = {}
    page.on("response", lambda got: seen.setdefault(got.url, got.status))
    before = files_in(demo.folder)
    page.goto(f"http://{name}:{foreign}/")
    found = page.evaluate("where => tries(where)", demo.local_url)
    # A script learns nothing of what it may not read; "opaque 0" is an answer of any status.
    assert {found[way] for way in ("config", "upload", "login", "image")} == {"refused"}
    assert {found[way] for way in ("opaque", "blind", "join")} <= {"refused", "opaque 0"}
    asked = {url: status for url, status in seen.items() if url.startswith(demo.local_url)}
    assert set(asked.values()) == {403}
    assert files_in(demo.folder) - before == set()


@pytest.mark.parametrize(("name", "shown"), [("localhost", True), ("elsewhere.example", False)])
def test_only_pages_of_allowed_names_have_the_demo_in_a_frame(
    demo: DemoApp, foreign: int, name: str, shown: bool, own_browser: Callable[..., playwright.Browser]
) -> None:
    page = own_browser(f"--host-resolver-rules=MAP {name} 127.0.0.1").new_page()
    page.goto(f"http://{name}:{foreign}/")
    page.set_content(f"<iframe src={demo.local_url}></iframe>", wait_until="load")
    inside = page.locator("iframe").content_frame.locator("gradio-app")
    playwright.expect(inside).to_have_count(int(shown))


def test_a_name_that_turns_into_this_machine_gets_nothing(
    demo: DemoApp, own_browser: Callable[..., playwright.Browser]
) -> None:
    browser = own_browser("--host-resolver-rules=MAP rebound.example 127.0.0.1")
    page = browser.new_page()
    port = urlsplit(demo.local_url).port
    answer = page.goto(f"http://rebound.example:{port}/")
    assert answer is not None
    assert answer.status == 403
    assert "does not answer to the name 'rebound.example" in page.inner_text("body")
    found = page.evaluate("path => fetch(path).then(got => got.status)", "/gradio_api/info")
    assert found == 403


def hostile_report() -> Report:
    """A report on classes of such names."""
    cells = [replace(cell, class_names=HOSTILE) for cell in make_cells({"real": 1.0, "syn": 1.5}, images=40)]
    samples = [SampleRow(name, phantom(), (phantom(),)) for name in HOSTILE]
    return small_report(cells=cells, samples=samples, notes=list(HOSTILE))


def test_names_of_classes_are_shown_as_text(browser: playwright.Browser, tmp_path: Path) -> None:
    generator = tmp_path / "<b>ddpm<_b>"
    build_ddpm(tiny_ddpm_config(), HOSTILE).save_pretrained(generator)
    run = tmp_path / "runs" / "<i>run<_i>"
    write_report(run, hostile_report())
    config = DemoConfig(
        generators=[str(generator)],
        runs=[str(run)],
        port=None,
        open_choice=False,
        threads=1,
        conditions=list(HOSTILE),
    )
    app = launch_demo(config, wait=False)
    context = browser.new_context(viewport=LAPTOP)
    told: list[str] = []
    context.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
    page = opened(context, app)
    condition = page.locator("#generate-condition input")
    condition.click()
    offered = page.locator("ul[role=listbox] li").all_inner_texts()
    assert [name.removeprefix("✓").strip() for name in offered][1:] == list(HOSTILE)
    condition.fill(other := "<b>no</b> <img src=x onerror=alert(2)>")
    condition.press("Enter")
    playwright.expect(page.locator("#generate-skin_type input")).to_have_value("any")  # it knows none
    button(page, "Generate").click()
    refused = page.locator(".sd-failed").and_(page.locator(":visible"))
    playwright.expect(refused).to_contain_text("is no class of")
    assert [name for name in (other, *HOSTILE) if name not in refused.inner_text()] == []
    go_to(page, "Report")
    inside = page.locator("#report iframe").content_frame
    inside.locator("h1").wait_for()
    shown = inside.locator("body").inner_text()
    context.close()
    app.close(verbose=False)
    assert told == []
    assert [name for name in HOSTILE if name not in shown] == []
