"""Who may talk to the demo: by ``Host`` and ``Origin``, how much at once, how often with a wrong password.

It stands around the whole app, so that no route of Gradio's own is left out.
"""

import asyncio
import logging
import re
from collections import Counter, defaultdict
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skindiff.demo.files import SessionFiles
from skindiff.demo.hosts import Doors
from skindiff.demo.listeners import Listeners

LOGIN_SECONDS = 1.0
"""What a wrong password costs; the next attempt from the same address waits for it."""
_LOGINS_WAITING = 8
_BESIDES = 100_000
"""Bytes of a request besides the file that it brings."""
_API = "/gradio_api"
_FILE = f"{_API}/file="
_SANDBOX = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The policy of a page that a stranger may have written: no script, no origin, nothing from elsewhere."""
_SERVED = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|robots\.txt|manifest\.json|login|logout)/?|/(static|assets|svelte)/.+"
    r"|/gradio_api/((user|login_check|token|app_id|info|openapi\.json|theme\.css|upload|upload_progress"
    r"|queue/(join|data|status)|cancel|reset|heartbeat/[^/]+)/?|(call|run|api)/.+|file=.+)",
    re.DOTALL,
)
"""The routes of Gradio that the page and its clients use; it has others, which nobody needs here."""

logger = logging.getLogger(__name__)


class Guard:
    """The app, for those who may talk to it.

    Args:
        app: what is guarded.
        doors: who is answered.
        files: they learn when an upload has ended.
        listeners: kept up to date.
        max_upload: largest file, in bytes.
    """

    def __init__(
        self, app: ASGIApp, doors: Doors, files: SessionFiles, listeners: Listeners, *, max_upload: int
    ) -> None:
        self.app, self.doors, self.files, self.listeners = app, doors, files, listeners
        self.max_upload = max_upload
        self._logins: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._at_login: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
        else:
            await self._pass(scope, self._measured(scope, receive), send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers, path = Headers(scope=scope), scope["path"]
        reason = self.doors.refusal(
            headers.getlist("host"),
            headers.getlist("origin"),
            headers.get("sec-fetch-site"),
            headers.get("sec-fetch-mode"),
        )
        if reason is not None:
            return PlainTextResponse(reason, 403)
        if self.files.closed:
            return PlainTextResponse("This demo is being closed.", 503)
        if not _SERVED.fullmatch(path):
            return PlainTextResponse("This demo has no such page.", 404)
        if path.startswith(_FILE) and not self.files.has(path.removeprefix(_FILE)):
            return PlainTextResponse("This demo has no such file.", 404)
        return None

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, post = scope["path"].rstrip("/"), scope["method"] == "POST"
        if post and path == "/login":
            await self._login(scope, receive, send)
        elif post and path == f"{_API}/upload":
            with self.files.uploading():
                await self._quietly(scope, receive, send)
        elif name := _listens_to(scope, path):
            self.listeners.change(name, 1)
            try:
                await self._quietly(scope, receive, send)
            finally:
                self.listeners.change(name, -1)
        else:
            await self._quietly(scope, receive, send)

    async def _quietly(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let no error reach the server, which would print all of it; the client has had its answer."""

        shown = scope["path"].startswith(_FILE) and self.files.is_page(scope["path"].removeprefix(_FILE))

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = self.doors.frames
                if shown and message["status"] == 200:
                    headers["Content-Security-Policy"] += f"; {_SANDBOX}"
                    headers["Content-Disposition"] = "inline"
                    headers["Content-Type"] = "text/html; charset=utf-8"
            await send(message)

        try:
            await self.app(scope, receive, framed)
        except Exception as error:
            logger.warning("%s %r failed: %r", scope["method"], scope["path"][:200], error)

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge the attempts of an address one after another, and let a wrong one wait."""
        address = scope["client"][0] if scope["client"] else ""
        if self._at_login[address] >= _LOGINS_WAITING:
            await PlainTextResponse("Too many attempts to log in; wait a little.", 429)(scope, receive, send)
            return

        async def slow(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                await asyncio.sleep(LOGIN_SECONDS)
            await send(message)

        self._at_login[address] += 1
        try:
            async with self._logins[address]:
                await self._quietly(scope, receive, slow)
        finally:
            self._at_login[address] -= 1
            if not self._at_login[address]:
                del self._at_login[address], self._logins[address]

    def _measured(self, scope: Scope, receive: Receive) -> Receive:
        """Return ``receive`` which ends a body that is too large, or that does not come to its end."""
        upload = scope["path"].rstrip("/") == f"{_API}/upload"
        most = _BESIDES + (self.max_upload if upload else 0)
        got, whole = 0, False

        def end(status: int, words: str) -> Exception:
            # For this one Gradio deletes what it has of an upload.
            return MultiPartException(words) if upload else HTTPException(status, words)

        async def measured() -> Message:
            nonlocal got, whole
            message = await receive()
            if whole:
                return message
            if message["type"] == "http.disconnect":
                whole = True
                if upload:
                    raise end(400, "The upload did not come to its end.")
                return message
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > most:
                whole = True
                raise end(413, f"The request exceeds the maximum allowed size of {most} bytes.")
            return message

        return measured


def _listens_to(scope: Scope, path: str) -> str | None:
    """Return the session or request whose answers a request listens to, if it does."""
    if scope["method"] != "GET":
        return None
    if path == f"{_API}/queue/data":
        return parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[-1]
    return path.rsplit("/", 1)[-1] if path.startswith(f"{_API}/call/") else None
