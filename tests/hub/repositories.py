"""What the small Hub of the tests keeps: repositories with commits, and large files by their SHA-256."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LFS_SUFFIXES = (".safetensors", ".parquet", ".png", ".jpg")
"""Files that the server wants as large files; all others come inside the commit."""


@dataclass(frozen=True)
class Entry:
    """A file of a commit: its SHA-256, its size, and whether it is a large file."""

    sha256: str
    size: int
    lfs: bool
    git_oid: str


@dataclass(frozen=True)
class Commit:
    oid: str
    message: str
    files: dict[str, Entry]


@dataclass
class Repository:
    kind: str
    """``model`` or ``dataset``."""
    name: str
    private: bool
    commits: list[Commit] = field(default_factory=list)

    def commit_at(self, revision: str) -> Commit | None:
        """Return the commit that ``main`` or an object id means."""
        if revision in ("main", "HEAD", "refs/heads/main"):
            return self.commits[-1]
        return next((commit for commit in self.commits if commit.oid == revision), None)


class Conflict(Exception):
    """What is asked does not fit what is there; becomes status 409."""


class Invalid(Exception):
    """The content is not what the client says it is; becomes status 400."""


class Repositories:
    """All repositories and blobs; every method may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._by_name: dict[tuple[str, str], Repository] = {}
        self._lock = threading.RLock()

    def create(self, kind: str, name: str, private: bool) -> Repository:
        with self._lock:
            if (kind, name) in self._by_name:
                raise Conflict("You already created this repo")
            repository = Repository(kind, name, private)
            self._by_name[kind, name] = repository
            self._commit(repository, "initial commit", {})
            return repository

    def find(self, kind: str, name: str) -> Repository | None:
        with self._lock:
            return self._by_name.get((kind, name))

    def names(self) -> list[str]:
        with self._lock:
            return [name for _, name in self._by_name]

    def has_blob(self, sha256: str) -> bool:
        return (self._blobs / sha256).is_file()

    def blob(self, sha256: str) -> bytes:
        return (self._blobs / sha256).read_bytes()

    def keep_blob(self, content: bytes, sha256: str | None = None) -> str:
        """Keep content under its own hash, which must be the one that was announced."""
        own = hashlib.sha256(content).hexdigest()
        if sha256 not in (None, own):
            raise Invalid(f"content has SHA-256 {own}, announced was {sha256}")
        path = self._blobs / own
        partial = path.with_name(f"{own}.{threading.get_ident()}.partial")
        partial.write_bytes(content)
        partial.replace(path)
        return own

    def commit(self, repository: Repository, lines: list[dict[str, Any]]) -> Commit:
        """Apply the operations of a commit together, or none of them."""
        with self._lock:
            files = dict(repository.commits[-1].files)
            message = ""
            for line in lines:
                key, value = line["key"], line["value"]
                if key == "header":
                    message = value["summary"]
                    parent = value.get("parentCommit")
                    if parent is not None and parent != repository.commits[-1].oid:
                        raise Conflict("A commit has happened since. Please refresh and try again.")
                elif key == "file":
                    files[value["path"]] = self._regular(value["content"])
                elif key == "lfsFile":
                    files[value["path"]] = self._large(value["oid"])
                elif key == "deletedFile":
                    del files[value["path"]]
                else:
                    raise Invalid(f"operation {key} is unknown here")
            return self._commit(repository, message, files)

    def _regular(self, content: str) -> Entry:
        raw = base64.b64decode(content, validate=True)
        return Entry(self.keep_blob(raw), len(raw), lfs=False, git_oid=_git_oid(raw))

    def _large(self, sha256: str) -> Entry:
        if not self.has_blob(sha256):
            raise Invalid(f"large file {sha256} was never uploaded")
        size = (self._blobs / sha256).stat().st_size
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        return Entry(sha256, size, lfs=True, git_oid=_git_oid(pointer.encode()))

    def _commit(self, repository: Repository, message: str, files: dict[str, Entry]) -> Commit:
        before = repository.commits[-1].oid if repository.commits else repository.name
        text = json.dumps([before, message, {path: entry.sha256 for path, entry in files.items()}])
        commit = Commit(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), message, files)
        repository.commits.append(commit)
        return commit


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
