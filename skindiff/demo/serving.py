"""The server of the demo, in a thread of its own."""

import errno
import socket
import threading
import time
import webbrowser

import uvicorn
from starlette.types import ASGIApp

from skindiff.errors import ConfigError

_CLOSING_SECONDS = 2
_BACKLOG = 128


class Server(uvicorn.Server):
    """A server that listens at once and answers after :meth:`start`.

    Args:
        app: what is served.
        host: address to listen on.
        port: port to listen on, None for a free one.

    Attributes:
        url: address of the page, as this machine's browser opens it.

    Raises:
        ConfigError: it cannot listen there.
    """

    def __init__(self, app: ASGIApp, host: str, port: int | None) -> None:
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port or 0), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"demo.port: {port} on {host} is taken; give another, or null for a free one"
                ) from error
            raise ConfigError(
                f"demo.host: this machine cannot listen on {host} ({error.strerror}); give an address of it, "
                "such as 127.0.0.1"
            ) from error
        super().__init__(
            uvicorn.Config(
                app,
                log_level="critical",
                ws="none",
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_CLOSING_SECONDS,
            )
        )
        name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self._socket.getsockname()[1]}/"
        self._thread = threading.Thread(target=self.run, args=([self._socket],), daemon=True)

    def start(self, *, open_browser: bool) -> None:
        """Serve from now on."""
        self._thread.start()
        while not self.started and self._thread.is_alive():
            time.sleep(0.01)
        if not self.started:
            raise RuntimeError("the server of the demo has ended while it started")
        if open_browser:
            webbrowser.open(self.url)

    def close(self) -> None:
        """Stop serving; answers that are not finished after two seconds are cut off."""
        self.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=2 * _CLOSING_SECONDS)
        self._socket.close()
