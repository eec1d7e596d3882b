"""The demo as a Gradio app."""

import logging
import math
import os
import shutil
import tempfile
import time
import weakref
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from gradio.route_utils import FnIndexInferError
from gradio_client.utils import is_file_obj, is_http_url_like, traverse
from starlette.responses import PlainTextResponse

from skindiff.corpora.phantom import render_phantom
from skindiff.demo import theme
from skindiff.demo.config import DemoConfig
from skindiff.demo.events import DemoEvents, refusal
from skindiff.demo.files import APP, SessionFiles, Uploads
from skindiff.demo.generator_cache import GeneratorCache
from skindiff.demo.guard import Guard
from skindiff.demo.hosts import Doors
from skindiff.demo.listeners import Listeners
from skindiff.demo.pages import compare_page, draw_page, photograph_page, report_page
from skindiff.demo.photographs import GONE, png_bytes
from skindiff.demo.serving import Server
from skindiff.demo.turns import TurnQueue

logger = logging.getLogger(__name__)

_EXAMPLES = (("II", "ring"), ("III", "plaque"), ("V", "nodule"))
_EXAMPLE_SIZE = 128
_SESSIONS = 200
_SWEEP_SECONDS = 60
_CLOSING_SECONDS = 5.0
_BROKEN = "The demo could not do this; its log says why. Please try something else."


class DemoApp(gr.Blocks):
    """The app.

    Attributes:
        folder: what visitors upload and see; it goes when the app is closed.
        files: the record of that folder.
        listeners: who waits for answers.
        cache: the generators.
        is_idle: after :meth:`close`, whether the batch at work has ended too.
    """

    folder: Path
    files: SessionFiles
    listeners: Listeners
    cache: GeneratorCache
    is_idle = True

    async def process_api(self, *args: Any, **more: Any) -> dict[str, Any]:
        """Answer a request; an error that nobody expected goes into the log, the visitor reads a sentence."""
        try:
            found: dict[str, Any] = await super().process_api(*args, **more)
        except gr.Error as error:
            error.print_exception = False  # it is the visitor who reads it,
            error.message = escape(str(error.message), quote=False)  # and as HTML, where names could be tags
            raise
        except Exception as error:
            logger.exception("a request failed")
            raise refusal(_BROKEN) from error
        return found

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **more: Any) -> list[Any]:
        """Prepare what a client sends; Gradio touches no path that is not one of ``files``."""
        _check_types(block_fn, inputs)
        traverse(inputs, self._refuse_foreign, is_file_obj)
        found: list[Any] = await super().preprocess_data(block_fn, inputs, *args, **more)
        return found

    def _refuse_foreign(self, file: dict[str, Any]) -> None:
        if not is_http_url_like(file["path"]) and not self.files.has(file["path"]):
            raise refusal(GONE)

    def block_thread(self) -> None:
        """Wait until the app is closed, or until this thread is interrupted."""
        while self.is_running:
            time.sleep(0.1)

    def close(self, verbose: bool = True) -> None:
        """Stop serving and delete all files of the sessions."""
        self.files.close()
        super().close(verbose)
        self.is_idle = self.cache.close(_CLOSING_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)


def _check_types(block_fn: Any, inputs: list[Any]) -> None:
    """Refuse values that the fields of the page cannot have."""
    if len(inputs) != len(block_fn.inputs):
        raise refusal(f"This request has {len(inputs)} values, and takes {len(block_fn.inputs)}.")
    for block, value in zip(block_fn.inputs, inputs, strict=True):
        if isinstance(block, gr.Slider | gr.Number):
            right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            kind = "a number"
        elif isinstance(block, gr.Dropdown):
            right, kind = isinstance(value, str) and value.isprintable(), "a line of text"
        elif isinstance(block, gr.Image):
            right = value is None or (isinstance(value, dict) and isinstance(value.get("path"), str))
            kind = "a file that was uploaded"
        else:
            continue
        if not right:
            raise refusal(f"{block.label}: {repr(value)[:60]} is not {kind}.")


def build_app(config: DemoConfig) -> DemoApp:
    """Return the app, not yet served; :func:`launch_demo` serves it as it is meant to be.

    ``GRADIO_TEMP_DIR`` is set to a new folder, which holds nothing but what the sessions of this app upload
    and see.

    Raises:
        ConfigError: a setting cannot work.
    """
    config.validate("demo.")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    folder = Path(tempfile.mkdtemp(prefix="skindiff-demo-")).resolve()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    files, listeners = SessionFiles(folder), Listeners()
    events = DemoEvents(config, files)
    age = config.keep_minutes * 60
    with DemoApp(title="skindiff", analytics_enabled=False, delete_cache=(_SWEEP_SECONDS, age)) as app:
        app.folder, app.files, app.listeners, app.cache = folder, files, listeners, events.cache
        weakref.finalize(app, shutil.rmtree, folder, ignore_errors=True)
        app.upload_file_set = Uploads(files)
        app.temp_file_sets.append(app.upload_file_set)
        gr.HTML(theme.HEADER)
        with gr.Tab("Generate", id="draw"):
            draw_page(events)
        with gr.Tab("Photograph", id="photograph"):
            photograph_page(events, _write_examples(files))
        with gr.Tab("Compare", id="compare"):
            compare_page(events)
        with gr.Tab("Report", id="report"):
            report_page(events)
        app.unload(events.goodbye)
    app.state_session_capacity = _SESSIONS
    # Without open_api no request can bypass the queue.
    app.queue(default_concurrency_limit=1, api_open=False)
    app._queue = TurnQueue(
        listeners=listeners,
        per_session=config.queue_per_session,
        live_updates=True,
        concurrency_count=app.max_threads,
        update_intervals=1,
        most=config.queue_size,
        blocks=app,
        default_concurrency_limit=1,
    )
    return app


def launch_demo(config: DemoConfig, *, wait: bool = True) -> DemoApp:
    """Serve the demo.

    Args:
        config: settings.
        wait: return when the demo is stopped (by ctrl-c); otherwise at once, with the app serving at its
            ``local_url`` until its ``close()`` is called.

    Raises:
        ConfigError: a setting cannot work, or the port is taken.
    """
    logins = config.logins("demo.")
    app = build_app(config)
    try:
        server = Server(_guarded(app, config, logins), config.host, config.port)
        app.server, app.local_url = server, server.url  # type: ignore[assignment]
        server.start(open_browser=config.open_browser)
        logger.info("the demo is at %s", app.local_url)
        if wait:
            app.block_thread()
    except BaseException:
        app.close(verbose=False)
        raise
    return app


def _guarded(app: DemoApp, config: DemoConfig, logins: list[tuple[str, str]] | None) -> Guard:
    """Return the app with its server's routes and, around them, the guard."""
    max_bytes, doors = int(config.max_upload_mb * 1e6), Doors(config.allowed_hosts)
    served = FastAPI(openapi_url=None)
    if not doors.any:
        served.add_middleware(CORSMiddleware)  # which grants nothing, and Gradio's then grants nothing either
    # Not launch(), which asks its own server through the proxy of the environment whether it is there.
    gr.mount_gradio_app(
        served,
        app,
        path="/",
        auth=logins,
        root_path=os.environ.get("GRADIO_ROOT_PATH"),
        max_file_size=max_bytes,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        run_history=False,
        mcp_server=False,
        footer_links=["api", "settings"],
        theme=theme.theme(),
        css=theme.CSS,
    )
    mounted: Any = served.routes[-1]
    app.app = app.server_app = mounted.app
    app._queue.set_server_app(app.app)
    for kind in (
        FnIndexInferError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        OSError,
    ):
        app.app.add_exception_handler(kind, _not_understood)
    return Guard(served, doors, app.files, app.listeners, max_upload=max_bytes)


async def _not_understood(request: Request, error: Exception) -> PlainTextResponse:
    """Answer a request that Gradio's routes stumble over."""
    logger.info("%s %s: %r", request.method, request.url.path, error)
    return PlainTextResponse("This demo does not understand the request.", 400)


def _write_examples(files: SessionFiles) -> list[str]:
    """Render phantoms to try, which belong to the app rather than to a session."""
    return [
        files.keep(
            APP,
            png_bytes(render_phantom(skin_type, lesion, _EXAMPLE_SIZE, "demo", number).pixels),
            f"{lesion}.png",
        )
        for number, (skin_type, lesion) in enumerate(_EXAMPLES)
    ]
