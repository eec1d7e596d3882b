"""Who may talk to the demo: every route, every Host and Origin, logins, and a proxy in the environment."""

import http.client
import re
import threading
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from gradio_client import Client

from skindiff.demo import guard
from skindiff.demo.app import DemoApp, launch_demo
from skindiff.demo.config import DemoConfig
from skindiff.demo.hosts import Doors, Place, is_loopback
from skindiff.demo.photographs import png_bytes
from skindiff.errors import ConfigError
from tests.conftest import REPOSITORY
from tests.demo.conftest import files_in, phantom

LOCAL = ["localhost", "127.0.0.1", "[::1]"]
UPLOAD = (
    b'--cut\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n" + png_bytes(phantom(size=16)) + b"\r\n--cut--\r\n"
)
ROUTES = [
    ("GET", "/", b""),
    ("GET", "/config", b""),
    ("GET", "/theme.css", b""),
    ("GET", "/static/img/logo.svg", b""),
    ("GET", "/assets/none.js", b""),
    ("POST", "/login", b"username=a&password=b"),
    ("GET", "/logout", b""),
    ("GET", "/gradio_api/info", b""),
    ("GET", "/gradio_api/file=/etc/passwd", b""),
    ("GET", "/gradio_api/queue/data?session_hash=x", b""),
    ("GET", "/gradio_api/heartbeat/x", b""),
    ("POST", "/gradio_api/queue/join", b'{"data": [], "fn_index": 1, "session_hash": "x"}'),
    ("POST", "/gradio_api/call/draw", b'{"data": []}'),
    ("POST", "/gradio_api/run/predict", b'{"data": [], "fn_index": 1}'),
    ("POST", "/gradio_api/cancel", b"{}"),
    ("POST", "/gradio_api/upload", UPLOAD),
    ("OPTIONS", "/gradio_api/upload", b""),
    ("GET", "/gradio_api/none", b""),
]


def answer(
    demo: DemoApp, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b""
) -> http.client.HTTPResponse:
    """Ask with exactly these headers, ``Host`` among them or not."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(demo.local_url).port, timeout=60)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    kind = "multipart/form-data; boundary=cut" if body.startswith(b"--cut") else "application/json"
    for name, value in [*headers, ("Content-Type", kind), ("Content-Length", str(len(body)))]:
        connection.putheader(name, value)
    connection.endheaders(body)
    return connection.getresponse()


def placed(text: str, demo: DemoApp) -> str:
    return text.replace("PORT", str(urlsplit(demo.local_url).port)).replace("OTHER", "9")


def table() -> list[tuple[list[str], list[str | None], int | None]]:
    """The rows of docs/demo.md: hosts, origins, and the status if it is refused."""
    rows = []
    for line in (REPOSITORY / "docs" / "demo.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4 or cells[0] != "any":
            continue
        hosts = re.findall(r"`([^`]+)`", cells[1]) or [""]
        origins: list[str | None] = [*re.findall(r"`(http[^`]+|null)`", cells[2])]
        if cells[2].startswith(("none", "any")):
            origins.append(None)
        rows.append((hosts, origins, None if cells[3] == "allowed" else int(cells[3])))
    return rows


@pytest.mark.parametrize("row", table(), ids=lambda row: f"{row[0][0]} {row[1][0]}")
def test_the_table_of_the_page_is_what_the_demo_does(
    demo: DemoApp, row: tuple[list[str], list[str | None], int | None]
) -> None:
    hosts, origins, refused = row
    for host, origin in product(hosts, origins):
        headers = [("Host", placed(host, demo))] if host else []
        headers += [("Origin", placed(origin, demo))] if origin else []
        got = answer(demo, "GET", "/config", headers)
        # A server of HTTP/1.1 may itself refuse a request without a host.
        assert got.status == (refused or 200) or (not host and got.status == 400)
        assert got.getheader("Access-Control-Allow-Origin") is None


def test_the_table_is_whole() -> None:
    refused = [row for row in table() if row[2] == 403]
    assert len(table()) == 11
    assert len(refused) == 7


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=lambda value: str(value)[:30])
def test_no_route_answers_a_foreign_name_or_page(demo: DemoApp, method: str, path: str, body: bytes) -> None:
    before = files_in(demo.folder)
    own = placed("127.0.0.1:PORT", demo)
    preflight = [("Access-Control-Request-Method", "POST")] if method == "OPTIONS" else []
    for headers in (
        [("Host", placed("evil.example:PORT", demo))],
        [("Host", placed("evil.example:PORT", demo)), ("Origin", placed("http://evil.example:PORT", demo))],
        [("Host", own), ("Origin", "https://evil.example")],
        [("Host", own), ("Origin", "null")],
        [("Host", own), ("Origin", f"http://{own}"), ("Origin", "https://evil.example")],
        [("Host", own), ("Host", "evil.example")],
        [("Host", own), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
        [("Host", own), ("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors")],
    ):
        got = answer(demo, method, path, [*headers, *preflight], body)
        assert got.status == 403 or (
            got.status == 400 and len([1 for name, _ in headers if name == "Host"]) == 2
        )
        assert not [name for name in got.headers if name.lower().startswith("access-control")]
    assert files_in(demo.folder) - before == set()


def test_a_request_without_a_host_is_refused(demo: DemoApp) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(demo.local_url).port, timeout=60)
    connection._http_vsn_str = "HTTP/1.0"  # type: ignore[attr-defined]
    connection.putrequest("GET", "/config", skip_host=True)
    connection.endheaders()
    got = connection.getresponse()
    assert got.status == 403
    assert b"allowed_hosts" in got.read()


def test_the_page_itself_and_programs_are_answered(demo: DemoApp) -> None:
    own = placed("127.0.0.1:PORT", demo)
    for headers in (
        [],
        [("Origin", f"http://{own}")],
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")],
    ):
        assert answer(demo, "GET", "/", [("Host", own), *headers]).status == 200
        assert answer(demo, "POST", "/gradio_api/upload", [("Host", own), *headers], UPLOAD).status == 200
    policy = answer(demo, "GET", "/", [("Host", own)]).getheader("Content-Security-Policy")
    assert policy == "frame-ancestors 'self' localhost:* 127.0.0.1:*"
    client = Client(demo.local_url, verbose=False)
    assert "/draw" in client.view_api(return_format="dict")["named_endpoints"]
    client.close()


@pytest.mark.parametrize(
    ("host", "origin", "taken"),
    [
        ("notebook.example", "https://notebook.example", True),
        ("notebook.example:8000", "http://notebook.example:8000", True),
        ("127.0.0.1:7860", "https://notebook.example", True),  # the proxy has a Host of its own
        ("gate.example:8443", "https://gate.example:8443", True),
        ("gate.example:9999", "https://gate.example:9999", False),
        ("notebook.example", "https://x.notebook.example", False),
        ("notebook.example", "http://localhost", False),
        ("notebook.example.", "https://notebook.example", True),
        ("notebook.example..", "https://notebook.example", False),
        ("[::1]:7860", "http://[::1]:7860", True),
        ("[0:0:0:0:0:0:0:1]:7860", "http://[::1]:7860", True),
        ("[::2]:7860", "http://[::2]:7860", False),
        ("127.0.0.1:7860", "http://127.0.0.1:7860@evil.example", False),
        ("127.0.0.1:7860", "http://127.0.0.1:7860/", False),
        ("127.0.0.1:7860", "file://127.0.0.1:7860", False),
        ("127.0.0.1:7860", "", False),
        ("", None, False),
        (".", None, False),
        ("127.0.0.1:", None, False),
        ("127.0.0.1:x", None, False),
        ("127.0.0.1, evil.example", None, False),
        ("2130706433", None, False),
        ("0.0.0.0:7860", None, False),
    ],
)  # fmt: skip
def test_names_that_are_allowed_on_purpose(host: str, origin: str | None, taken: bool) -> None:
    doors = Doors([*LOCAL, "notebook.example", "gate.example:8443"])
    assert (doors.refusal([host], [] if origin is None else [origin]) is None) == taken


def test_everyone_is_answered_where_that_was_asked_for() -> None:
    assert Doors(["*"]).refusal(["owner-name.hf.space"], ["https://elsewhere.example"]) is None
    assert Doors(["*"]).refusal([], []) is None


def test_hosts_that_cannot_work() -> None:
    DemoConfig(host="0.0.0.0", open_choice=False, allowed_hosts=["my-machine.lan"]).validate()
    DemoConfig(host="0.0.0.0", open_choice=False, allowed_hosts=["*"]).validate()
    DemoConfig(host="::1").validate()
    for wrong, said in (
        (DemoConfig(host="0.0.0.0", open_choice=False), "allowed_hosts: none is a name by which others"),
        (DemoConfig(allowed_hosts=[]), "allowed_hosts: none"),
        (
            DemoConfig(allowed_hosts=["*"], open_choice=False),
            r"any web page could use the demo on 127\.0\.0\.1",
        ),
        (DemoConfig(allowed_hosts=["http://x"]), "'http://x' is no name"),
        (DemoConfig(allowed_hosts=[*LOCAL, "x.example"]), r"open_choice: on x\.example others"),
        (DemoConfig(host="0.0.0.0", allowed_hosts=["*"]), r"open_choice: on 0\.0\.0\.0"),
    ):
        with pytest.raises(ConfigError, match=said):
            wrong.validate("demo.")
    assert Place.read("[::1]:80") == Place("::1", 80)
    assert [
        is_loopback(name) for name in ("127.1.2.3", "::1", "[::1]", "localhost", "0.0.0.0", "::", "a.b")
    ] == ([True] * 4 + [False] * 3)


@pytest.fixture
def locked(generators: list[str], tmp_path: Path) -> Iterator[DemoApp]:
    (tmp_path / "logins").write_text("ann:good")
    config = DemoConfig(generators=generators[:1], port=None, login_file=str(tmp_path / "logins"), host="::1")
    app = launch_demo(config, wait=False)
    yield app
    app.close(verbose=False)


def test_wrong_passwords_cost_time_however_many_are_tried_at_once(
    locked: DemoApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert locked.local_url.startswith("http://[::1]:")
    monkeypatch.setattr(guard, "LOGIN_SECONDS", 0.2)
    got: list[int] = []

    def attempt(password: str) -> httpx.Response:
        said = httpx.post(
            f"{locked.local_url}login", data={"username": "ann", "password": password}, timeout=60
        )
        got.append(said.status_code)
        return said

    started = time.monotonic()
    tries = [threading.Thread(target=attempt, args=(f"guess {number}",)) for number in range(20)]
    for one in tries:
        one.start()
    for one in tries:
        one.join()
    judged = got.count(400)
    assert judged + got.count(429) == 20
    assert time.monotonic() - started >= 0.2 * judged
    assert got.count(429) > 0
    assert attempt("good").status_code == 200
    with httpx.Client(base_url=locked.local_url) as web:
        assert web.get("config").status_code == 401
        assert web.post("gradio_api/upload", files={"files": b"x"}).status_code == 401
        web.post("login", data={"username": "ann", "password": "good"})
        assert web.get("config").status_code == 200


def test_a_proxy_of_the_environment_plays_no_part(
    generators: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    app = launch_demo(DemoConfig(generators=generators[:1], port=None), wait=False)
    assert httpx.Client(trust_env=False).get(f"{app.local_url}config").status_code == 200
    with pytest.raises(ConfigError, match=f"demo.port: {urlsplit(app.local_url).port} on 127.0.0.1 is taken"):
        launch_demo(DemoConfig(generators=generators[:1], port=urlsplit(app.local_url).port), wait=False)
    config = DemoConfig(
        generators=generators[:1], host="192.0.2.1", open_choice=False, allowed_hosts=["x.example"]
    )
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        launch_demo(config, wait=False)
    app.close(verbose=False)
