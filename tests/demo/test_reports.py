"""Reports as the demo and a Space show them: one page for every run, wherever it came from."""

from pathlib import Path

import pytest

from skindiff.demo.config import DemoConfig
from skindiff.demo.reports import report_page
from skindiff.demo.space import write_space
from skindiff.errors import HubError, RunFolderError
from skindiff.report.write import write_report
from tests.demo.conftest import write_run
from tests.report.test_page import Page
from tests.report.test_write import small_report


def test_a_report_shows_its_own_pictures_and_no_html(tmp_path: Path) -> None:
    text = report_page(write_run(tmp_path / "run"))
    page = Page(text)
    assert len(page.all("img")) == 1
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert [one["href"] for one in page.all("a")] == ["#scores"]
    assert '<div class="scroll" tabindex="0" role="region" aria-label="table"><table>' in text
    own = tmp_path / "own"
    write_report(own, small_report())
    assert report_page(own) == (own / "report.html").read_text()


def test_a_report_that_is_not_there_or_leads_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no readable report\.md of its own"):
        report_page(tmp_path)
    (tmp_path / "secret.txt").write_text("private")
    for name in ("report.md", "report.html"):  # as a stranger's run may have it
        run = tmp_path / name.replace(".", "_")
        run.mkdir()
        (run / name).symlink_to(tmp_path / "secret.txt")
        with pytest.raises(RunFolderError, match=r"of its own \(it is a link that leads out of the folder\)"):
            report_page(run)


def test_a_run_from_the_hub_is_shown_out_of_its_cache(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    repository = tmp_path / "datasets--me--run"
    snapshot, blobs = repository / "snapshots" / "0a1b", repository / "blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(path for path in run.rglob("*") if path.is_file())):
        path.rename(blobs / str(number))
        link = snapshot / path.relative_to(run)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blobs / str(number))
    page = Page(report_page(snapshot))
    assert "A made-up run" in page.words
    assert len(page.all("img")) == 1


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Space with a run on computed images and one on photographs, both with all their pictures."""
    folder = tmp_path_factory.mktemp("space")
    write_report(folder / "computed", small_report())
    write_report(folder / "photographs", small_report(corpus={"name": "ham10000"}), include_images=True)
    runs = [str(folder / name) for name in ("computed", "photographs")]
    write_space(folder / "made", DemoConfig(runs=runs, port=None))
    return folder


def test_a_space_shows_the_page_of_a_run(space: Path) -> None:
    page = report_page(space / "made" / "runs" / "computed")
    assert page == (space / "computed" / "report.html").read_text()
    assert Page(page).all("article")
    assert Page(page).all("source")
    files = {path.name for path in (space / "made" / "runs" / "computed").iterdir()}
    assert files == {"report.json", "report.md", "pictures"}


def test_a_space_shows_all_but_the_photographs_of_a_run(space: Path) -> None:
    run = space / "made" / "runs" / "photographs"
    page, own = (Page(report_page(folder)) for folder in (run, space / "photographs"))
    names = sorted(path.relative_to(run / "pictures").as_posix() for path in run.rglob("*.png"))
    numbers = [name for name in names if not name.startswith("dark/")]
    assert numbers
    assert not any("samples" in name for name in numbers)
    assert names == sorted(numbers + [f"dark/{name}" for name in numbers])
    assert len(page.all("img")) == len(page.all("source")) == len(numbers) == len(own.all("img")) - 1
    assert "It may show photographs of the corpus, and stays with them." in page.words
    assert [one["id"] for one in page.all("section")] == [one["id"] for one in own.all("section")]
    assert len(page.all("article")) == len(own.all("article")) > 0


def test_a_report_that_names_a_file_of_the_corpus_goes_into_no_space(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "audit.csv").write_text("image_id,status\nsmith-1.jpg,ok\n")
    (run / "report.md").write_text("Near smith-1.jpg here.")
    with pytest.raises(HubError, match=r"names the file 'smith-1\.jpg' of the corpus"):
        write_space(tmp_path / "space", DemoConfig(runs=[str(run)], port=None))
