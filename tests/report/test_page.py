import base64
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skindiff.report.content import SettingsName
from skindiff.report.drawing import DARK
from skindiff.report.page import mood, page_sections, render_page
from skindiff.report.text import Section
from skindiff.report.write import write_report
from tests.report.test_write import made_up_report, small_report

VOID = {"meta", "img", "source", "line", "circle", "br", "hr"}


class Page(HTMLParser):
    """What a page holds, and whether its tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page")
    write_report(path, made_up_report(title="Does <b>it</b> help?"))
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text())


def test_it_needs_nothing_else(page: Page, folder: Path) -> None:
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    text = (folder / "report.html").read_text()
    for reference in ("http:", "https:", "url(", "@import"):
        assert reference not in text
    targets = [anchor["href"] or "" for anchor in page.all("a")]
    identities = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(identities)) == len(identities)
    assert targets
    assert all(target[0] == "#" and target[1:] in identities for target in targets)


def embedded(reference: str | None) -> bytes:
    kind, _, data = (reference or "").partition(",")
    assert kind == "data:image/webp;base64"
    return seen(io.BytesIO(base64.b64decode(data)))


def seen(file: Path | io.BytesIO) -> bytes:
    """The pixels of a picture."""
    with Image.open(file) as picture:
        return picture.convert("RGBA").tobytes()


def test_every_picture_is_in_it_with_words(page: Page, folder: Path) -> None:
    shown, dark = {}, set()
    for image in page.all("img"):
        assert image["alt"]
        shown[embedded(image["src"])] = image
    for source in page.all("source"):
        assert source["media"] == "screen and (prefers-color-scheme: dark)"
        dark.add(embedded(source["srcset"]))
    pictures = folder / "pictures"
    assert set(shown) == {seen(path) for path in pictures.glob("*.png")}
    assert dark == {seen(path) for path in (pictures / DARK).iterdir()}
    files = sum(path.stat().st_size for path in pictures.rglob("*.png"))
    assert len((folder / "report.html").read_bytes()) < files  # without loss, and twice as long in letters
    assert len(dark) == len(shown)
    with Image.open(folder / "pictures" / "differences.png") as picture:
        width = round(picture.size[0] * 96 / 130)
    assert shown[seen(folder / "pictures" / "differences.png")]["width"] == str(width)


def test_it_says_what_the_text_says(page: Page, folder: Path) -> None:
    markdown = (folder / "report.md").read_text()
    titles = [line.removeprefix("## ") for line in markdown.splitlines() if line.startswith("## ")]
    assert [one["aria-labelledby"] for one in page.all("section")] == [
        f"{title.lower().replace(' ', '-').rstrip('?')}-title" for title in titles
    ]
    assert page.words.index("What was found") < page.words.index("Scores")
    content = json.loads((folder / "report.json").read_text())
    words = page.words.replace("\u00a0", " ")
    for verdict in content["verdicts"]:
        assert verdict["sentence"] in words
    assert "Does <b>it</b> help?" in page.words
    for row in content["summary"]:
        assert f"{100 * row['mean']:.1f}" in words or row["metric"] in ("precision", "recall")


def test_a_verdicts_colour_follows_its_interval(page: Page, folder: Path) -> None:
    content = json.loads((folder / "report.json").read_text())
    asked = [one for one in content["verdicts"] if one["role"] == "primary"]
    moods = {"helps": "good", "hurts": "bad", "can't tell": "open"}
    cards = [card["class"] for card in page.all("article")]
    assert cards == [f"card {moods.get(one['verdict'], one['verdict'])}" for one in asked]
    row: dict[str, Any] = {"delta": 0.1, "delta_ci_low": 0.01, "delta_ci_high": 0.2}
    assert mood(row) == "good"
    assert mood(row | {"delta_ci_low_corrected": -0.01, "delta_ci_high_corrected": 0.21}) == "open"
    assert mood({"delta": -0.1, "delta_ci_low": -0.2, "delta_ci_high": -0.01}) == "bad"


def test_what_a_class_is_called_does_no_harm(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    sections = [
        Section("A <i>title</i>", '<script>alert("x")</script>\n\n| a |\n| --- |\n| <b> |'),
        Section("A title", '![A "quoted" <b>](a.png)'),
        Section("A title", "long\n\n| a | b |\n| --- | --- |\n| 1 | " + "words " * 9 + "|"),
    ]
    first, second, third = page_sections(sections, tmp_path)
    assert "<script>" not in first["html"]
    assert "&lt;script&gt;" in first["html"]
    assert "<td>&lt;b&gt;</td>" in first["html"]
    assert Page(second["html"]).all("img")[0]["alt"] == 'A "quoted" <b>'
    assert "<p>" not in second["html"]
    assert [one["id"] for one in (first, second, third)] == ["a-i-title-i", "a-title", "a-title-2"]
    assert [cell.get("class") for cell in Page(third["html"]).all("td")] == [None, "long"]


def test_long_tables_and_names_are_marked(tmp_path: Path) -> None:
    def shown(rows: int, name: str = "x") -> Page:
        table = "\n".join(["| a | b |", "| --- | ---: |", *(f"| {name} | {row} |" for row in range(rows))])
        return Page(page_sections([Section("T", table)], tmp_path)[0]["html"])

    assert shown(5).all("div")[0]["class"] == "scroll"
    assert shown(40).all("div")[0]["class"] == "scroll tall"
    cells = shown(1, "generator.textual_inversion.loop.steps").all("td")
    assert [cell.get("class") for cell in cells] == ["word", None]


def test_the_same_content_gives_the_same_page(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "report.json").read_text())
    sections = [Section("Cost", "none")]
    assert render_page(content, sections, tmp_path) == render_page(content, sections, tmp_path)
    later = {**content, "timings": {"seconds_of_last_call": 7200.0}}
    assert "2 h 0 min" in render_page(later, sections, tmp_path)


def test_a_study_without_verdicts_has_a_page(tmp_path: Path) -> None:
    report = replace(small_report(), cells=[], lesions={}, samples=[])
    write_report(tmp_path, report)
    page = Page((tmp_path / "report.html").read_text())
    assert not page.all("article")
    assert "Against real" not in page.words
    assert page.open == []


def test_the_title_is_followed_by_what_the_images_are(tmp_path: Path) -> None:
    settings: SettingsName = {"name": "smoke", "changed": True}
    write_report(tmp_path, small_report(settings=settings))
    page = Page((tmp_path / "report.html").read_text())
    top = page.words[: page.words.index("Do synthetic images help?")]
    for words in (
        "images computed by a program, of no patient",
        "Smoke settings",
        "some changed",
        "2 splits",
    ):
        assert words in top
        assert words in (tmp_path / "report.md").read_text().split("\n\n")[1]
    assert json.loads((tmp_path / "report.json").read_text())["settings"] == settings
    write_report(tmp_path, small_report(corpus={"name": "fitzpatrick17k"}))
    page = Page((tmp_path / "report.html").read_text())
    assert "Corpus: fitzpatrick17k" in page.words
    assert "computed by a program" not in page.words
    assert "settings" not in json.loads((tmp_path / "report.json").read_text())


def test_names_of_arms_and_strategies_have_words(page: Page) -> None:
    assert "real and synthetic images, against real images" in page.words
    said = "transferred from real images after textual inversion and LoRA"
    assert page.words.index(said) < page.words.index("What was found")
