"""A small Hub that runs while a test does, and processes that talk to it with the real client."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.hub.server import Hub

TOKEN = "hf_TheTokenOfTheOwnerIsNeverShown"
STRANGER = "hf_SomebodyElseWhoMayNotReadThis"


@dataclass
class Outcome:
    """What a process said, and how it ended."""

    code: int
    out: str
    err: str


@dataclass
class Client:
    """Runs Python in new processes that know this Hub and nothing else."""

    hub: Hub
    folder: Path
    seen: list[str] = field(default_factory=list)
    """All that was ever printed, to look for tokens in."""

    def environment(self, token: str | None, **more: str) -> dict[str, str]:
        dropped = ("HF_HUB_OFFLINE", "HF_TOKEN", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        return kept | {
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.folder / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "NO_PROXY": "*",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(REPOSITORY),
            **({} if token is None else {"HF_TOKEN": token}),
            **more,
        }

    def start(self, code: str, token: str | None = TOKEN, **more: str) -> subprocess.Popen[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=self.folder,
            env=self.environment(token, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, token: str | None = TOKEN, **more: str) -> Outcome:
        process = self.start(code, token, **more)
        out, err = process.communicate(timeout=240)
        self.seen += [out, err]
        return Outcome(process.returncode, out, err)

    def succeed(self, code: str, token: str | None = TOKEN, **more: str) -> str:
        outcome = self.run(code, token, **more)
        assert outcome.code == 0, outcome.err[-4000:]
        return outcome.out


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub", {TOKEN: "me", STRANGER: "stranger"}).running() as hub:
        yield hub


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Iterator[Client]:
    client = Client(hub, tmp_path / "client")
    yield client
    # Wherever a test has been: no token was printed, kept by the Hub, or sent to where large files lie.
    assert not any(TOKEN in text for text in client.seen)
    for path in (tmp_path / "hub").iterdir():
        assert TOKEN.encode() not in path.read_bytes()
    assert not any(request.token for request in hub.requests if request.host == "localhost")
