import sys
from pathlib import Path

import pytest

from skindiff.commands import demo
from skindiff.demo.config import DemoConfig
from tests.commands.conftest import Run


class App:
    """A demo that nobody visits."""

    local_url = "http://127.0.0.1:1/"
    closed = False
    is_idle = True

    def block_thread(self) -> None:
        raise KeyboardInterrupt

    def close(self, verbose: bool) -> None:
        self.closed = True


def test_the_page_is_named_and_closed(
    monkeypatch: pytest.MonkeyPatch, run_command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gradio")
    from skindiff.demo import app as page

    app, seen = App(), []
    monkeypatch.setattr(page, "launch_demo", lambda config, wait: seen.append((config, wait)) or app)
    said = run_command(
        "demo", "--port", "7000", "--max_images", "3", "--allowed_hosts+", "gate.example",
        "--open_choice", "false", status=130,
    )  # fmt: skip
    waiting, ready = said.splitlines()  # the first before the seconds that the libraries take
    assert "loading" in waiting
    assert ready == "the demo is at http://127.0.0.1:1/ (ctrl-c stops it)"
    names = [*DemoConfig().allowed_hosts, "gate.example"]
    wanted = DemoConfig(port=7000, max_images=3, allowed_hosts=names, open_choice=False)
    assert seen == [(wanted, False)]
    assert app.closed


def test_a_space_is_written(work: Path, run_command: Run) -> None:
    pytest.importorskip("gradio")
    said = run_command("demo", "--space", work / "space")
    assert (work / "space" / "app.py").is_file()
    assert f"next: hf upload OWNER/NAME {work / 'space'} --repo-type space" in said


def test_without_gradio_it_says_so(
    monkeypatch: pytest.MonkeyPatch, run_command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "skindiff.demo.app", None)
    run_command("demo", status=2)
    assert capsys.readouterr().err.startswith("error: demo: ")
    assert demo.__doc__
