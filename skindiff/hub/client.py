"""Talking to the Hub: one commit for a push, patience with its limits, errors in one line without tokens."""

import fnmatch
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    DatasetInfo,
    HfApi,
    ModelInfo,
    get_token,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import validate_repo_id

from skindiff import __version__
from skindiff.errors import HubError

logger = logging.getLogger(__name__)

RepoType = Literal["model", "dataset"]
Content = Path | bytes
T = TypeVar("T")

ATTEMPTS = 4
"""Calls of one step before it is given up; the library's own retries of single requests are inside."""
LONGEST_WAIT = 60.0
"""Seconds that a push waits at most when the Hub asks for patience; a longer wait is left to the user."""
_BUSY = (429, 500, 502, 503, 504)
_TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{16,}|\bapi_org_[A-Za-z0-9]{16,}")
"""What access tokens of the Hub look like."""
_SCANNED = 2**20
"""Bytes at the start of each file that are searched for tokens: all of a text, the header of weights."""


@dataclass(frozen=True)
class Pushed:
    """What a push has left on the Hub.

    Attributes:
        repo_id: ``owner/name``.
        repo_type: ``model`` or ``dataset``.
        url: of the repository's page.
        revision: the commit that holds all of it.
        private: whether only its owner sees it.
    """

    repo_id: str
    repo_type: RepoType
    url: str
    revision: str
    private: bool


def push_files(
    files: Mapping[str, Content],
    repo_id: str,
    *,
    repo_type: RepoType,
    message: str,
    private: bool = True,
    token: str | None = None,
    owns: Sequence[str] = (),
) -> Pushed:
    """Put files into a repository in one commit, making it if need be.

    Large files go up first, then the commit: a reader sees the old state or the new one. A call after an
    interruption sends what is not there yet, and one where nothing changed makes no commit.

    Args:
        files: content by path in the repository.
        repo_id: ``owner/name``.
        repo_type: ``model`` or ``dataset``.
        message: of the commit.
        private: whether only the owner may see it.
        token: with write access; the one that ``hf auth login`` stored when left out.
        owns: patterns of paths that belong to such a push: files there that this one lacks are deleted.

    Raises:
        HubError: a file holds a token, the repository is public where private was asked for, or the Hub does
            not take it.
    """
    refuse_bad_id(repo_id)
    secret = token or get_token()
    _refuse_tokens(files, secret)
    api = HfApi(token=token, library_name="skindiff", library_version=__version__)

    def patiently(step: Callable[[], T]) -> T:
        return with_patience(step, repo_id, secret)

    url = patiently(lambda: api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True))
    info = patiently(lambda: _repo_info(api, repo_id, repo_type))
    if private and not info.private:
        raise HubError(
            f"repo_id: {repo_id} exists and is public, and a private push was asked for; make it private in "
            "its settings, name another, or push with private=False"
        )
    there = {sibling.rfilename for sibling in info.siblings or ()}
    stale = sorted(
        path for path in there - set(files) if any(fnmatch.fnmatch(path, pattern) for pattern in owns)
    )

    def commit() -> str:
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationDelete(path_in_repo=path) for path in stale),
            *(CommitOperationAdd(path, content) for path, content in sorted(files.items())),
        ]
        made = api.create_commit(repo_id, operations, commit_message=message, repo_type=repo_type)
        return made.oid

    return Pushed(repo_id, repo_type, str(url), patiently(commit), bool(info.private))


def _repo_info(api: HfApi, repo_id: str, repo_type: RepoType) -> ModelInfo | DatasetInfo:
    return api.model_info(repo_id) if repo_type == "model" else api.dataset_info(repo_id)


def with_patience(step: Callable[[], T], repo_id: str, token: str | None) -> T:
    """Return what ``step`` returns, after as many attempts as it is worth.

    Raises:
        HubError: it failed for good; the message has neither the token nor more than one line.
    """
    for attempt in range(ATTEMPTS):
        try:
            return step()
        except Exception as error:  # of requests, files, threads and validation: all end in one line
            wait = _wait_before_next(error, attempt)
            if wait is None or attempt == ATTEMPTS - 1:
                # Not "from error": the library's error holds the request, and with it the token.
                raise explain(error, repo_id, token) from None
            logger.warning(
                "the Hub is busy (%s); trying again in %.0f s", _status(error) or "no answer", wait
            )
            time.sleep(wait)
    raise AssertionError("unreachable")


def refuse_bad_id(repo_id: str) -> None:
    """Raise a :class:`HubError` unless ``repo_id`` is ``owner/name``."""
    try:
        validate_repo_id(repo_id)
        fits = repo_id.count("/") == 1
    except HFValidationError:
        fits = False
    if not fits:
        raise HubError(f"repo_id: {repo_id!r} is no id of the Hub; give owner/name, such as me/skin-adapter")


def redacted(text: str, token: str | None = None) -> str:
    """Return ``text`` without anything that is, or looks like, a token."""
    if token:
        text = text.replace(token, "***")
    return _TOKEN.sub(b"***", text.encode()).decode()


def explain(error: BaseException, repo_id: str, token: str | None) -> HubError:
    """Return an error of the client library as one line with the way out."""
    status, cause = _status(error), _cause(error)
    if isinstance(cause, OfflineModeIsEnabled):
        return HubError("HF_HUB_OFFLINE is set, so the Hub is not asked; unset it, and call again")
    if isinstance(cause, LocalTokenNotFoundError):
        return HubError("token: there is none; log in with `hf auth login`, or set HF_TOKEN")
    ways = {
        401: "the Hub does not know the token, or hides this repository from it; log in with `hf auth login` "
        "or give a token with write access",
        403: "the token has no right to write there; use one with write access, or a name of your own",
        404: "there is no such repository, or the token may not see it; check the id and the token",
        409: "something else changed it at the same time; call again",
        412: "something else changed it at the same time; call again",
        413: "a file is too large for the Hub; make smaller shards",
        429: "the Hub asks for patience; call again later, what has arrived stays there",
    }
    said = _one_line(cause, token)
    if status is not None:
        way = ways.get(status, "call again later" if status >= 500 else "see what the Hub said")
        return HubError(f"repo_id: {repo_id}: the Hub answered {status} ({said}): {way}")
    return HubError(
        f"repo_id: {repo_id}: the Hub was not reached or the transfer broke off ({said}): check the network "
        "and call again, what has arrived stays there"
    )


def _cause(error: BaseException) -> BaseException:
    """Return the innermost cause that says something of the Hub; uploads in threads wrap theirs."""
    while not isinstance(error, (HfHubHTTPError, OfflineModeIsEnabled)) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    cause = _cause(error)
    return cause.response.status_code if isinstance(cause, HfHubHTTPError) else None


def _wait_before_next(error: BaseException, attempt: int) -> float | None:
    """Return how many seconds to wait before the next attempt, None where it is of no use."""
    cause = _cause(error)
    if isinstance(cause, HfHubHTTPError):
        if cause.response.status_code not in _BUSY:
            return None
        asked = cause.response.headers.get("Retry-After", "")
        wait = float(asked) if asked.isdigit() else 2.0**attempt
        return wait if wait <= LONGEST_WAIT else None
    transient = type(cause).__module__.split(".")[0] in ("httpx2", "httpx", "httpcore", "httpcore2")
    return 2.0**attempt if transient else None


def _one_line(error: BaseException, token: str | None) -> str:
    server = getattr(error, "server_message", None)
    text = server or next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return redacted(" ".join(text.split())[:200], token) or type(error).__name__


def _refuse_tokens(files: Mapping[str, Content], token: str | None) -> None:
    own = [secret.encode() for secret in (token, os.environ.get("HF_TOKEN")) if secret]
    for path, content in files.items():
        if isinstance(content, bytes):
            start = content
        else:
            with content.open("rb") as stream:
                start = stream.read(_SCANNED)
        if _TOKEN.search(start) or any(secret in start for secret in own):
            raise HubError(f"{path} holds what looks like an access token; take it out, and revoke it")
