"""Reports as the demo and a Space show them: one page for every run, wherever it came from."""

from pathlib import Path

import pytest

from skindiff.demo.reports import report_page
from skindiff.errors import RunFolderError
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
