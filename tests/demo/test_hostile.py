"""Visitors who mean no good: wrong types, requests that nobody waits for, torn uploads, other routes."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from gradio_client import Client

from skindiff.demo import turns
from skindiff.demo.app import DemoApp
from skindiff.demo.files import SessionFiles
from skindiff.demo.turns import in_turns
from tests.demo.conftest import files_in
from tests.demo.test_api import META, drawn, upload

GOOD: list[Any] = ["tiny", "eczema", "V", 1, 1, 2, 0]
WRONG: list[list[Any]] = [
    *(
        [*GOOD[:place], wrong, *GOOD[place + 1 :]]
        for places, kinds in (
            (range(7), (None, [], {}, ["V"], True)),
            (range(3), (5, 1.5, "\ud800", "a\0b")),
            (range(3, 6), ("", "x", "nan", 10**30)),
            (range(6, 7), ("x", "nan", "1.5", 10**30)),
        )
        for place in places
        for wrong in kinds
    ),
    [],
    GOOD[:-1],
    [*GOOD, 0],
    [META] * 7,
    [{"path": 5, **META}, *GOOD[1:]],
    [{"path": "/etc/passwd", **META}, *GOOD[1:]],
]
PHOTOGRAPHS: list[Any] = [
    5, "text", [], True, {}, {"path": None, **META}, {"path": 5, **META}, {"path": ["a"], **META},
    {"url": "file:///etc/passwd", **META}, {"path": "", **META}, {"path": "a\0b", **META},
    {"meta": 5, "path": "a"},
]  # fmt: skip


@pytest.fixture
def web(demo: DemoApp) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=demo.local_url, timeout=60) as found:
        yield found


def said(web: httpx.Client, call: str, data: Any) -> tuple[str, Any]:
    """The last event of a call, and what it says."""
    body = json.dumps({"data": data}).encode()
    got = web.post(f"gradio_api/call/{call}", content=body, headers={"Content-Type": "application/json"})
    if got.status_code != 200:
        return "error", {"error": got.text}
    lines = web.get(f"gradio_api/call/{call}/{got.json()['event_id']}").text.strip().splitlines()
    return lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: "))


def is_sentence(answer: Any) -> bool:
    words = answer.get("error") if isinstance(answer, dict) else answer
    return isinstance(words, str) and " " in words and "Traceback" not in words


@pytest.fixture
def quiet(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing of what happens is a crash of the server."""
    yield
    told = capfd.readouterr()
    assert "Traceback" not in told.err + told.out
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.usefixtures("quiet")
def test_wrong_types_get_a_sentence(web: httpx.Client) -> None:
    for data in WRONG:
        event, answer = said(web, "draw", data)
        assert event == "error", (data, answer)
        assert is_sentence(answer), (data, answer)
    assert said(web, "draw", GOOD)[0] == "complete"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("call", ["check_photograph", "transfer"])
def test_a_photograph_that_is_none_gets_a_sentence(web: httpx.Client, call: str) -> None:
    more = [] if call == "check_photograph" else ["tiny", "eczema", "any", "(all)", 0.5, 2, 2, "0", "none"]
    for photograph in PHOTOGRAPHS:
        event, answer = said(web, call, [photograph, *more])
        assert event == "error", (photograph, answer)
        assert is_sentence(answer), (photograph, answer)


@pytest.mark.usefixtures("quiet")
def test_requests_that_no_client_sends_are_refused(web: httpx.Client) -> None:
    deep = b'{"data": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    for path in ("queue/data?session_hash=nobody", "call/draw/nothing", "queue/data", "heartbeat/"):
        with suppress(httpx.RemoteProtocolError):  # Gradio says that there is no session, and breaks off
            assert web.get(f"gradio_api/{path}").status_code in (404, 422)
    for path, body in (
        ("call/none", b'{"data": []}'),
        ("call/v2/none", b"{}"),
        ("call/v2/draw", b'{"wrong": 1}'),
        ("call/draw", b"not json"),
        ("call/draw", deep),
        ("call/draw", b'{"data": 5}'),
        ("call/draw", b'{"data": [1e999]}'),
        ("queue/join", b'{"data": [], "fn_index": 9999, "session_hash": "x"}'),
        ("queue/join", b'{"data": [], "fn_index": "x", "session_hash": "x"}'),
        ("queue/join", b'{"data": [], "session_hash": "x"}'),
        ("queue/join", b'{"data": [], "fn_index": 0}'),
        ("run/draw", b'{"data": []}'),
        ("api/predict", b'{"data": [], "fn_index": 9999}'),
        ("cancel", b'{"session_hash": "x", "fn_index": 0, "event_id": 5}'),
        ("upload", b"--"),
    ):
        got = web.post(f"gradio_api/{path}", content=body, headers={"Content-Type": "application/json"})
        if got.status_code == 200:
            name = got.json()["event_id"]
            assert "event: error" in web.get(f"gradio_api/call/draw/{name}").text, path
        else:
            assert 400 <= got.status_code < 500, (path, body[:60], got.text)
            assert got.text, (path, body[:60])


def test_too_large_a_request_is_refused_while_it_comes(web: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 10**5

    for path in ("upload", "queue/join", "call/draw", "cancel"):
        kind = "multipart/form-data; boundary=cut" if path == "upload" else "application/json"
        try:
            got = web.post(f"gradio_api/{path}", content=endless(), headers={"Content-Type": kind})
        except httpx.WriteError:
            continue
        assert got.status_code in (400, 413), path


@pytest.fixture
def hurry(demo: DemoApp, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Let requests wait long for a listener, until this is called or the test ends."""
    monkeypatch.setattr(turns, "UNHEARD_SECONDS", 600.0)

    def drop() -> None:
        monkeypatch.setattr(turns, "UNHEARD_SECONDS", 0.0)
        settle(demo)
        monkeypatch.setattr(turns, "UNHEARD_SECONDS", 5.0)

    yield drop
    drop()


def settle(demo: DemoApp) -> None:
    """Wait until the demo has nothing to do."""
    deadline = time.monotonic() + 30
    while (len(demo._queue) or any(demo._queue.active_jobs)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(demo._queue) == 0
    assert not any(demo._queue.active_jobs)


def test_who_queues_much_and_leaves_keeps_nobody_waiting(
    demo: DemoApp, web: httpx.Client, hurry: Callable[[], None]
) -> None:
    slow = [*GOOD[:3], 48, 2, 50, 0]
    taken = [web.post("gradio_api/call/draw", json={"data": slow}) for _ in range(33)]
    names = [got.json()["event_id"] for got in taken]
    assert len(demo._queue) == 33
    client = Client(demo.local_url, verbose=False)
    assert len(drawn(client)[0]) == 3
    client.close()
    hurry()
    assert "so it was dropped" in web.get(f"gradio_api/call/draw/{names[-1]}").text


def test_sessions_that_nobody_listens_to_are_forgotten(
    demo: DemoApp, web: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "UNHEARD_SECONDS", 0.0)
    monkeypatch.setattr(turns, "_SESSIONS", 20)
    for _ in range(60):
        assert web.post("gradio_api/call/draw", json={"data": GOOD}).status_code == 200
    assert len(demo._queue.pending_messages_per_session) <= 22
    assert len(demo._queue.pending_event_ids_session) <= 22


@pytest.mark.usefixtures("hurry")
def test_a_session_has_few_requests_waiting(web: httpx.Client) -> None:
    body = {"data": GOOD, "session_hash": "greedy"}
    taken = [web.post("gradio_api/call/draw", json=body) for _ in range(6)]
    assert [got.status_code for got in taken] == [200] * 4 + [503] * 2
    assert "4 requests of this page are waiting" in taken[-1].text
    assert web.post("gradio_api/call/draw", json={"data": GOOD, "session_hash": "modest"}).status_code == 200


def test_sessions_take_turns() -> None:
    waiting = [SimpleNamespace(session_hash=letter, number=number) for number, letter in enumerate("aaabac")]
    order = [(event.session_hash, event.number) for event in in_turns(waiting)]
    assert order == [("a", 0), ("b", 3), ("c", 5), ("a", 1), ("a", 2), ("a", 4)]


def test_the_page_knows_why_the_queue_did_not_take_its_request(
    demo: DemoApp, web: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its line said that the request was cancelled."""
    body = {"data": GOOD, "session_hash": "many"}
    for _ in range(demo._queue.per_session):
        assert web.post("gradio_api/call/draw", json=body).status_code == 200
        assert demo.visits.of("many").failed == ""
    assert web.post("gradio_api/call/draw", json=body).status_code != 200
    assert "requests of this page are waiting, and no more may" in demo.visits.of("many").failed
    line, *_ = demo.opening.events.stop("generate", cancelled=False)(
        SimpleNamespace(session_hash="many", query_params={})
    )
    assert "no more may" in line
    monkeypatch.setattr(turns, "UNHEARD_SECONDS", 0.0)
    web.post("gradio_api/call/draw", json={**body, "session_hash": "other"})
    assert "Nobody listened to the answer of this request" in demo.visits.of("many").failed


def test_a_listener_who_leaves_stops_the_drawing(demo: DemoApp, web: httpx.Client) -> None:
    slow = [*GOOD[:3], 48, 2, 50, 0]
    body = {"data": slow, "session_hash": "leaver"}
    names = [web.post("gradio_api/call/draw", json=body).json()["event_id"] for _ in range(4)]
    with web.stream("GET", f"gradio_api/call/draw/{names[0]}") as stream:
        next(stream.iter_lines())
    settle(demo)


def test_a_torn_upload_leaves_nothing(demo: DemoApp, web: httpx.Client, photograph: Path) -> None:
    head = 'Content-Disposition: form-data; name="{}"; filename="a.jpg"\r\n\r\n'
    part = b"--cut\r\n" + head.format("files").encode() + photograph.read_bytes()
    other = b"--cut\r\n" + head.format("other").encode() + photograph.read_bytes() + b"\r\n--cut--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=cut"}
    before = files_in(demo.folder)
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(demo.local_url).port)
    connection.putrequest("POST", "/gradio_api/upload")
    for name, value in [*kind.items(), ("Content-Length", "100000")]:
        connection.putheader(name, value)
    connection.endheaders(part)
    time.sleep(0.3)
    connection.close()
    web.post("gradio_api/upload", content=part, headers=kind)  # the last part has no end
    web.post("gradio_api/upload", content=other, headers=kind)
    deadline = time.monotonic() + 10
    while files_in(demo.folder) - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert files_in(demo.folder) - before == set()


def test_uploads_that_nobody_uses_make_room(tmp_path: Path) -> None:
    files = SessionFiles(tmp_path)
    paths = [tmp_path / str(number) / "a.png" for number in range(70)]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"x")
        files.uploaded([str(path)])
    assert [path.exists() for path in paths] == [False] * 6 + [True] * 64
    assert not files.has(str(paths[0]))
    files.close()
    assert not tmp_path.exists()


PATHS = [
    "/etc/passwd", "//etc/passwd", "/proc/self/environ", "/proc/self/cmdline", "/proc/self/cwd/README.md",
    "../../../../etc/passwd", "{folder}/../../etc/passwd", "{folder}/./../..//etc/passwd",
    "{folder}", "{folder}/",
    "{file}/../../link/report.md", "{link}/report.md", "{file}\0", "file:///etc/passwd",
    "http://127.0.0.1:1/x", "https://example.org/x.png", "HTTP://example.org/x.png", "https:/example.org/x",
    "README.md", "~/.ssh/id_rsa", "C:\\Windows\\win.ini", "\\\\host\\share\\x",
    "/dev/stdin", "/dev/zero", "x" * 5000,
]  # fmt: skip


@pytest.mark.usefixtures("quiet")
def test_no_path_leads_to_another_file(
    demo: DemoApp, web: httpx.Client, photograph: Path, tmp_path: Path
) -> None:
    (tmp_path / "report.md").write_text("# Secret")
    link = demo.folder / "link"
    link.symlink_to(tmp_path)
    own = tmp_path / "own.jpg"
    own.write_bytes(photograph.read_bytes() + b"not the one of other tests")
    known = upload(web, own)
    assert web.get(f"gradio_api/file={known}").status_code == 200
    answers = set()
    for path in PATHS:
        wanted = path.format(folder=demo.folder, link=link, file=known)
        for coded in (
            quote(wanted, safe="/"),
            quote(wanted, safe=""),
            quote(quote(wanted, safe=""), safe=""),
        ):
            got = web.get(f"gradio_api/file={coded}")
            answers.add((got.status_code, got.text))
    link.unlink()
    # The second answer is to what the client itself makes a path of another route.
    assert answers == {(404, "This demo has no such file."), (404, "This demo has no such page.")}


@pytest.mark.usefixtures("quiet")
def test_no_other_route_of_gradio_is_there(web: httpx.Client) -> None:
    for path in (
        "proxy=https://x.hf.space/config", "proxy=http://127.0.0.1:1/", "file//etc/passwd",
        "deep_link?session_hash=x",
        "component_server", "component_server/", "process_recording", "dev/reload", "vibe-code", "vibe-edit",
        "runs", "run-history/buckets", "stream/x", "startup-events",
        "custom_component/1/client/component/index.js",
        "mcp/", "profiling/traces", "../gradio_api/component_server", "%2e%2e/monitoring",
    ):  # fmt: skip
        for method in ("GET", "POST", "PUT", "HEAD"):
            assert web.request(method, f"gradio_api/{path}").status_code in (404, 405), (method, path)
    for path in (
        "monitoring",
        "monitoring/summary",
        "docs",
        "openapi.json",
        "pwa_icon",
        "..%2f..%2fetc/passwd",
    ):
        assert web.get(path).status_code == 404, path
    for path in (
        "static/../../../../etc/passwd",
        "assets/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "svelte/%2fetc%2fpasswd",
    ):
        got = web.get(path)
        assert got.status_code in (400, 403, 404), path
        assert "root:" not in got.text


@pytest.mark.usefixtures("quiet")
def test_no_field_leads_to_a_file(web: httpx.Client) -> None:
    for word in (
        "/etc",
        "../..",
        "https://example.org",
        "tiny/../other",
        "file:///etc",
        "tiny\n",
        " tiny",
        "-x",
    ):
        for data in ([word, *GOOD[1:]], ["tiny", f"<{word}>", *GOOD[2:]]):
            event, answer = said(web, "draw", data)
            assert event == "complete" or is_sentence(answer), (data, answer)
            assert "passwd" not in str(answer)
        assert said(web, "describe", [word, "eczema", "V"])[0] == "error"
        event, answer = said(web, "report", [word])
        assert event == "error"
        assert is_sentence(answer)
