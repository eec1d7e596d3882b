"""A small Hugging Face Hub on loopback: what huggingface_hub's client and ``datasets`` ask of it over HTTP.

It keeps files, checks their hashes, hides private repositories from strangers, sends large files from another
host name (as the Hub sends them from its CDN), notes every request, and fails or dawdles when a test says so.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.repositories import LFS_SUFFIXES, Commit, Conflict, Entry, Invalid, Repositories, Repository

_KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
_API = re.compile(r"^/api/(models|datasets|spaces)/([\w.-]+/[\w.-]+)(?:/([a-z-]+)(?:/([^/]+)(?:/(.*))?)?)?$")
_RESOLVE = re.compile(r"^/(?:(datasets|spaces)/)?([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)$")
_LFS_BATCH = re.compile(r"^/(?:(datasets|spaces)/)?([\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch$")


@dataclass
class Fault:
    """What goes wrong with the next requests that match.

    ``status`` answers instead of the server (None lets it answer), ``delay`` waits that many seconds first,
    ``cut`` closes the connection without a word, ``lose_answer`` after the work is done.
    """

    path: str
    status: int | None = None
    delay: float = 0.0
    cut: bool = False
    lose_answer: bool = False
    times: int = 1
    method: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "told to fail"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    host: str
    token: str | None


class Hub:
    """The server's state and the tests' hand on it."""

    def __init__(self, folder: Path, tokens: dict[str, str]) -> None:
        self.repositories = Repositories(folder)
        self.tokens = tokens
        """User name by token."""
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        hub = self

        class Handler(_Handler):
            state = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.storage = f"http://localhost:{self.port}"
        """Where large files are: another host, which must never see a token."""

    @contextmanager
    def running(self) -> Iterator["Hub"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method in (None, method) and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def count(self, method: str, path: str) -> int:
        """Return how many requests there were."""
        with self.lock:
            return sum(
                one.method == method and re.search(path, one.path) is not None for one in self.requests
            )

    def files(self, kind: str, name: str) -> dict[str, bytes]:
        """Return the files of the newest commit."""
        repository = self.repositories.find(kind, name)
        assert repository is not None, self.repositories.names()
        newest = repository.commits[-1]
        return {path: self.repositories.blob(entry.sha256) for path, entry in newest.files.items()}


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing; ``Hub.requests`` has it all."""

    # ---------------------------------------------------------------- one request

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.route, self.query = unquote(url.path), parse_qs(url.query)
        authorization = self.headers.get("Authorization", "")
        self.token = authorization.removeprefix("Bearer ") or None
        self.user = self.state.tokens.get(self.token or "")
        with self.state.lock:
            host = self.headers.get("Host", "").partition(":")[0]
            self.state.requests.append(Request(self.command, self.route, host, self.token))
        fault = self.state.fault_for(self.command, self.route)
        if fault is not None:
            time.sleep(fault.delay)
            if fault.cut:
                self.close_connection = True
                self.connection.close()
                return
        self.body = self._read_body()
        self.mute = fault is not None and fault.lose_answer
        try:
            if fault is not None and fault.status is not None:
                self._error(fault.status, fault.message, **fault.headers)
            elif self.token is not None and self.user is None:
                self._error(401, "Invalid credentials in Authorization header")
            else:
                self._answer()
        except Conflict as error:
            self._error(409, str(error))
        except (Invalid, KeyError, ValueError) as error:
            self._error(400, f"{type(error).__name__}: {error}")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self) -> None:
        plain: dict[tuple[str, str], Callable[[], None]] = {
            ("GET", "/api/whoami-v2"): self._whoami,
            ("POST", "/api/repos/create"): self._create,
            ("POST", "/api/validate-yaml"): lambda: self._json({"errors": [], "warnings": []}),
        }
        found = plain.get((self.command, self.route))
        if found is not None:
            found()
        elif self.route.startswith("/storage/"):
            self._storage(self.route.rsplit("/", 1)[1])
        elif match := _LFS_BATCH.match(self.route):
            self._on_repository(match[1] or "models", match[2], self._lfs_batch)
        elif match := _RESOLVE.match(self.route):
            self._on_repository(
                match[1] or "models", match[2], lambda repo: self._resolve(repo, *match.group(3, 4))
            )
        elif match := _API.match(self.route):
            self._on_repository(match[1], match[2], lambda repo: self._api(repo, *match.group(3, 4, 5)))
        else:
            self._error(404, f"nothing at {self.route}")

    def _on_repository(self, kinds: str, name: str, answer: Callable[[Repository], None]) -> None:
        repository = self.state.repositories.find(_KINDS[kinds], name)
        mine = self.user is not None and name.split("/")[0] == self.user
        if repository is None or (repository.private and not mine):
            self._error(404 if self.user else 401, "Repository not found", **{"X-Error-Code": "RepoNotFound"})
        elif self.command not in ("GET", "HEAD") and not mine and "paths-info" not in self.route:
            self._error(403, "You don't have the rights to write here")
        else:
            answer(repository)

    # ---------------------------------------------------------------- repositories

    def _whoami(self) -> None:
        if self.user is None:
            self._error(401, "Invalid username or password.")
        else:
            self._json({"type": "user", "name": self.user, "orgs": [], "auth": {"type": "access_token"}})

    def _create(self) -> None:
        asked = json.loads(self.body)
        owner, kind = asked.get("organization") or self.user, asked.get("type", "model")
        if self.user is None:
            self._error(401, "Invalid username or password.")
            return
        if owner != self.user:
            self._error(403, f"You don't have the rights to create a {kind} under {owner}")
            return
        name = f"{owner}/{asked['name']}"
        prefix = "" if kind == "model" else f"{kind}s/"
        answer = {"url": f"{self.state.url}/{prefix}{name}"}
        try:
            self.state.repositories.create(kind, name, asked.get("visibility") == "private")
        except Conflict as error:
            self._json({**answer, "error": str(error)}, 409)
            return
        self._json(answer)

    def _api(
        self, repository: Repository, action: str | None, revision: str | None, path: str | None
    ) -> None:
        if action == "refs":
            head = repository.commits[-1].oid
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": head}
            self._json({"branches": [branch], "tags": [], "converts": []})
            return
        commit = repository.commit_at(revision or "main")
        if commit is None:
            self._error(404, f"Invalid rev id: {revision}", **{"X-Error-Code": "RevisionNotFound"})
        elif action in (None, "revision"):
            self._info(repository, commit)
        elif action == "tree":
            self._tree(commit, path)
        elif action == "paths-info":
            asked = parse_qs(self.body.decode())["paths"]
            self._json([_described(name, commit.files[name]) for name in asked if name in commit.files])
        elif action == "preupload":
            self._preupload(commit)
        elif action == "commit":
            made = self.state.repositories.commit(
                repository, [json.loads(line) for line in self.body.splitlines()]
            )
            url = f"{self.state.url}/{repository.name}/commit/{made.oid}"
            self._json({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})
        else:
            self._error(404, f"no action {action}")

    def _info(self, repository: Repository, commit: Commit) -> None:
        self._json(
            {
                "_id": "0",
                "id": repository.name,
                "author": repository.name.split("/")[0],
                "sha": commit.oid,
                "lastModified": "2026-01-01T00:00:00.000Z",
                "private": repository.private,
                "gated": False,
                "disabled": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": [{"rfilename": path} for path in sorted(commit.files)],
            }
        )

    def _tree(self, commit: Commit, path: str | None) -> None:
        start = f"{path}/" if path else ""
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries: dict[str, dict[str, Any]] = {}
        for name, entry in sorted(commit.files.items()):
            if not name.startswith(start):
                continue
            parts = name[len(start) :].split("/")
            for depth in range(1, len(parts)):
                folder = start + "/".join(parts[:depth])
                entries[folder] = {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
                if not recursive:
                    break
            if recursive or len(parts) == 1:
                entries[name] = _described(name, entry)
        if path and not entries:
            self._error(404, f"{path} does not exist", **{"X-Error-Code": "EntryNotFound"})
        else:
            self._json(list(entries.values()))

    # ---------------------------------------------------------------- files

    def _preupload(self, commit: Commit) -> None:
        answers = []
        for asked in json.loads(self.body)["files"]:
            there = commit.files.get(asked["path"])
            oid = None if there is None else there.sha256 if there.lfs else there.git_oid
            mode = "lfs" if asked["path"].endswith(LFS_SUFFIXES) else "regular"
            answers.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._json({"files": answers})

    def _lfs_batch(self, _: Repository) -> None:
        objects: list[dict[str, Any]] = []
        for asked in json.loads(self.body)["objects"]:
            upload = {"href": f"{self.state.storage}/storage/{asked['oid']}"}
            there = self.state.repositories.has_blob(asked["oid"])
            objects.append(asked if there else {**asked, "actions": {"upload": upload}})
        self._json({"transfer": "basic", "objects": objects})

    def _storage(self, sha256: str) -> None:
        if self.command == "PUT":
            self.state.repositories.keep_blob(self.body, sha256)
            self._send(200, b"")
        elif self.state.repositories.has_blob(sha256):
            self._content(self.state.repositories.blob(sha256), {"ETag": f'"{sha256}"'})
        else:
            self._error(404, "no such object")

    def _resolve(self, repository: Repository, revision: str, path: str) -> None:
        commit = repository.commit_at(revision)
        if commit is None:
            self._error(404, f"Invalid rev id: {revision}", **{"X-Error-Code": "RevisionNotFound"})
            return
        at = {"X-Repo-Commit": commit.oid}
        entry = commit.files.get(path)
        if entry is None:
            self._error(404, f"{path} does not exist", **{"X-Error-Code": "EntryNotFound"}, **at)
        elif entry.lfs:
            linked = {"X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
            location = {"Location": f"{self.state.storage}/storage/{entry.sha256}"}
            self._send(302, b"", {**at, **linked, **location, "ETag": f'"{entry.git_oid}"'})
        else:
            self._content(self.state.repositories.blob(entry.sha256), {**at, "ETag": f'"{entry.git_oid}"'})

    # ---------------------------------------------------------------- answers

    def _content(self, content: bytes, headers: dict[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self._send(200, content, {**headers, "Accept-Ranges": "bytes"})
            return
        first = int(asked[1])
        last = min(int(asked[2]) if asked[2] else len(content) - 1, len(content) - 1)
        if first > last:
            self._send(416, b"", {**headers, "Content-Range": f"bytes */{len(content)}"})
            return
        place = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        self._send(206, content[first : last + 1], {**headers, **place})

    def _json(self, content: Any, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, message: str, **headers: str) -> None:
        body = json.dumps({"error": message}).encode()
        self._send(status, body, {"Content-Type": "application/json", "X-Error-Message": message, **headers})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        if self.mute:
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _described(path: str, entry: Entry) -> dict[str, Any]:
    described: dict[str, Any] = {"type": "file", "path": path, "size": entry.size, "oid": entry.git_oid}
    if entry.lfs:
        described["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": 130}
    return described
