"""The page of a run that came without its report.html is the one that the run has."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from skindiff.report.drawing import DARK
from skindiff.report.from_markdown import page_from_markdown, split_text
from skindiff.report.text import CLOSING, Section
from skindiff.report.write import write_report
from tests.report.test_page import Page
from tests.report.test_write import small_report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page")
    report = small_report(title="Does <b>it</b> *help*?", settings={"name": "smoke", "changed": False})
    write_report(path, report)
    return path


def again(folder: Path) -> str:
    return page_from_markdown(folder, (folder / "report.md").read_text())


def test_with_its_report_json_it_is_the_same_to_the_byte(folder: Path) -> None:
    own = (folder / "report.html").read_text()
    assert Page(own).all("article")  # cards
    assert again(folder) == own


def copied(folder: Path, place: Path, content: dict[str, Any] | None = None, without: str = "") -> Path:
    """A copy of a run with another ``report.json``, or with none."""
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns("report.json", without))
    if content is not None:
        (place / "report.json").write_text(json.dumps(content))
    return place


def test_without_it_all_but_the_cards_is_there(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = Page((folder / "report.html").read_text())
    page = Page(again(copied(folder, tmp_path / "run")))
    assert page.open == []
    assert "Does <b>it</b> *help*?" in page.words
    sections = [one["id"] for one in own.all("section")]
    assert len(sections) > 8
    assert [one["id"] for one in page.all("section")] == sections
    assert [one["href"] for one in page.all("a")] == [f"#{name}" for name in sections]
    assert not page.all("article")
    # The verdicts are a table, and the times, which are in no text, are none.
    assert len(page.all("table")) == len(own.all("table"))
    frames = [one for one in page.all("div") if (one.get("class") or "").startswith("scroll")]
    assert len(frames) == len(page.all("table")) + len(own.all("img"))
    assert all(one["tabindex"] == "0" and one["role"] == "region" and one["aria-label"] for one in frames)
    images = page.all("img")
    assert images == own.all("img")
    assert all(int(one["width"] or 0) > 0 and int(one["height"] or 0) > 0 for one in images)
    assert len(page.all("source")) == len(images) > 3
    assert page.words.count(CLOSING.split("`")[0]) == 1
    assert caplog.records == []


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("verdicts", {"arm": "another"}, "a verdict of the report is about no row of its summary"),
        ("summary", {"delta_ci_low": None}, "half an interval of a difference"),
        ("summary", {"half_widths": 1}, "half_widths"),
        ("environment", {"versions": []}, "environment.versions is no mapping"),
        ("timings", {"total": "long"}, "timings"),
        ("settings", {"name": []}, "settings.name is not text"),
    ],
)
def test_a_strangers_report_json_is_passed_over_with_its_reason(
    folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    part: str,
    value: dict[str, Any],
    said: str,
) -> None:
    content = json.loads((folder / "report.json").read_text())
    if isinstance(content[part], list):
        judged = {name: content["verdicts"][0][name] for name in ("arm", "reference", "metric", "strategy")}
        row = next(row for row in content[part] if judged.items() <= row.items())
        row.update(value)
    else:
        content[part].update(value)
    with caplog.at_level(logging.WARNING):
        page = Page(again(copied(folder, tmp_path / "run", content, without="pictures")))
    assert said in caplog.text
    assert page.all("section")
    assert not page.all("article")


def test_a_link_to_another_report_json_is_not_followed(folder: Path, tmp_path: Path) -> None:
    run = copied(folder, tmp_path / "run", without="pictures")
    (run / "report.json").symlink_to(folder / "report.json")
    assert not Page(again(run)).all("article")


def test_a_text_is_cut_at_its_sections_alone() -> None:
    text = (
        "# A `code` \\*title\\*\n\nAn answer.\r\n\r\n## First\n\n```\n## no section\n```\n\n> ## nor this\n\n"
        f"### Nor this\n\n## Second\n\nEnd.\n\n{CLOSING}\n"
    )
    parts = split_text(text)
    assert (parts.title, parts.opening, parts.closing) == ("A code *title*", "An answer.", CLOSING)
    first, second = parts.sections
    assert first == Section("First", "```\n## no section\n```\n\n> ## nor this\n\n### Nor this")
    assert second == Section("Second", "End.")
    assert split_text("Words.\n\n| a |\n| --- |\n").sections == [
        Section("Report", "Words.\n\n| a |\n| --- |")
    ]
    assert split_text("").sections == [Section("Report", "")]


def test_only_pictures_of_the_folder_are_shown(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "pictures" / DARK).mkdir(parents=True)
    Image.new("RGB", (130, 65)).save(tmp_path / "outside.png")
    Image.new("RGB", (130, 65)).save(run / "pictures" / "own.png")
    Image.new("1", (20_000, 4_000)).save(run / "pictures" / "large.png")
    Image.new("RGB", (8, 8)).save(run / "pictures" / "photograph.jpg")
    (run / "pictures" / "torn.png").write_bytes((tmp_path / "outside.png").read_bytes()[:40])
    for name in ("link.png", f"{DARK}/own.png"):
        (run / "pictures" / name).symlink_to(tmp_path / "outside.png")
    names = ["pictures/own.png", "../outside.png", str(tmp_path / "outside.png"), "http://else.test/a.png"]
    names += [
        f"pictures/{name}" for name in ("link.png", "large.png", "torn.png", "photograph.jpg", "none.png")
    ]
    text = "\n\n".join(f"![Picture {place}.]({name})" for place, name in enumerate([*names, "a" * 300]))
    page = Page(page_from_markdown(run, f"# Pictures\n\n## All\n\n{text}\n"))
    assert page.open == []
    (image,) = page.all("img")
    assert (image["alt"], image["width"], image["height"]) == ("Picture 0.", "96", "48")
    assert page.all("source") == []  # its dark version leads out of the folder
    assert page.words.count("(This picture is not here.)") == len(names)
