"""A demo that is told to end, in the middle of its work, leaves no upload behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from skindiff.demo.config import DemoConfig
from skindiff.demo.space import write_space
from tests.conftest import REPOSITORY
from tests.demo.test_api import upload

COMMAND = ["-m", "skindiff.cli", "demo"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ended(words: list[str], place: Path, number: int, port: int, photograph: Path) -> tuple[int, str]:
    """The status of a demo, ended with an upload and while it draws, and what it said."""
    temporary = place / "tmp"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(REPOSITORY)}
    server = subprocess.Popen(
        [sys.executable, *words], cwd=place, env=environment, stderr=subprocess.PIPE, text=True
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as web:
        while server.poll() is None:
            with suppress(httpx.TransportError):
                web.get("config")
                break
            time.sleep(0.1)
        assert Path(upload(web, photograph)).read_bytes() == photograph.read_bytes()
        drawing = web.post("gradio_api/call/draw", json={"data": ["tiny", "x", "V", 24, 2, 50, 0]}).json()
        with web.stream("GET", f"gradio_api/call/draw/{drawing['event_id']}") as stream:
            next(line for line in stream.iter_lines() if ".png" in line)  # more is to come
            assert list(temporary.rglob("*.png"))
            server.send_signal(number)
            said = server.communicate(timeout=30)[1]
    assert [path for path in temporary.rglob("*") if path.is_file() or "skindiff" in path.name] == []
    assert "Traceback" not in said
    return server.returncode, said


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (signal.SIGTERM, 143, "ended by SIGTERM; all uploads are deleted"),
        pytest.param(signal.SIGINT, 130, "interrupted; all uploads are deleted", marks=pytest.mark.slow),
    ],
)
def test_a_signal_leaves_no_upload(
    generators: list[str], photograph: Path, tmp_path: Path, number: int, status: int, words: str
) -> None:
    port = free_port()
    command = [*COMMAND, "--port", str(port), "--generators", f"[{generators[0]}]"]
    got, said = ended(command, tmp_path, number, port, photograph)
    assert got == status
    assert said.splitlines()[-1] == words


@pytest.mark.slow
def test_sigterm_leaves_no_upload_in_a_space(generators: list[str], photograph: Path, tmp_path: Path) -> None:
    place, port = write_space(tmp_path / "space", DemoConfig(generators=generators[:1])), free_port()
    app = place / "app.py"
    app.write_text(app.read_text().replace("'port': 7860", f"'port': {port}"))
    assert ended(["app.py"], place, signal.SIGTERM, port, photograph)[0] == 0
