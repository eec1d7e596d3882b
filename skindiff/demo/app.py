"""The demo as a Gradio app."""

import atexit
import logging
import math
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping
from functools import cache
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
from skindiff.demo import pieces, theme
from skindiff.demo.config import MEGABYTE, DemoConfig
from skindiff.demo.events import DemoEvents
from skindiff.demo.fields import QUIET, Filled
from skindiff.demo.files import APP, SessionFiles, Uploads
from skindiff.demo.generator_cache import GeneratorCache
from skindiff.demo.guard import Guard
from skindiff.demo.hosts import Doors
from skindiff.demo.listeners import Listeners
from skindiff.demo.opening import Opening
from skindiff.demo.pages import Example, compare_page, draw_page, photograph_page, report_page
from skindiff.demo.photographs import GONE, Pixels, png_bytes
from skindiff.demo.refusals import BROKEN, refusal
from skindiff.demo.serving import Server
from skindiff.demo.settings import TAB
from skindiff.demo.turns import TurnQueue
from skindiff.demo.visits import Visits
from skindiff.demo.words import glossary
from skindiff.launch import usual_threads

logger = logging.getLogger(__name__)

_EXAMPLES = (
    ("II", "ring", "red lines"),
    ("III", "plaque", "pale patch"),
    ("V", "nodule", "red patch"),
)
"""Skin type and lesion of a phantom, and what of the bundled generator's words comes nearest to it."""
_EXAMPLE_SIZE = 128
_SESSIONS = 200
_OPENING = 20
"""Pages that are opened at a time."""
_SWEEP_SECONDS = 60
_CLOSING_SECONDS = 5.0


class DemoApp(gr.Blocks):
    """The app.

    Attributes:
        folder: what visitors upload and see; it goes when the app is closed.
        files: the record of that folder.
        listeners: who waits for answers.
        cache: the generators.
        visits: what the pages of each visitor show.
        opening: what they show first.
        is_idle: after :meth:`close`, whether the batch at work has ended too.
    """

    folder: Path
    files: SessionFiles
    listeners: Listeners
    cache: GeneratorCache
    visits: Visits
    opening: Opening
    is_idle = True

    async def process_api(self, *args: Any, **more: Any) -> dict[str, Any]:
        """Answer a request; an error that nobody expected goes into the log, the visitor reads a sentence.

        It stands in the line of the page, once: nothing of it is shown elsewhere.
        """
        visit = self.visits.of(str(more.get("session_hash")))
        try:
            found: dict[str, Any] = await super().process_api(*args, **more)
        except gr.Error as error:
            visit.failed = str(error.message)
            error.print_exception, error.visible = False, False
            error.message = escape(visit.failed, quote=False)  # where a client shows it as HTML
            raise
        except Exception as error:
            logger.exception("a request failed")
            visit.failed = BROKEN
            raise refusal(BROKEN) from error
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


def _take_address(app: DemoApp, events: DemoEvents, tabs: gr.Tabs, filled: Mapping[str, Filled]) -> None:
    """Let a page that is opened with settings in its address show them."""

    def arrived(request: gr.Request) -> list[Any]:
        asked = (request.query_params or {}).get(TAB)
        found: list[Any] = [gr.Tabs(selected=asked) if asked in filled else gr.skip()]
        for page, one in filled.items():
            if page != asked:
                found += [gr.skip() for _ in range(len(one.fields) + 1)]
                continue
            try:
                values, line = events.arrive(page, request)
            except gr.Error as error:
                values, line = [gr.skip() for _ in one.fields], pieces.failed(str(error.message), None)
            found += [*values, line]
        return found

    def described(request: gr.Request) -> list[Any]:
        return events.described_by_address({page: one.describe for page, one in filled.items()}, request)

    outputs = [tabs, *(field for one in filled.values() for field in (*one.fields, one.line))]
    arrival = app.load(arrived, None, outputs, **QUIET)
    said = [field for one in filled.values() for field in one.said]
    arrival.success(described, None, said, **{**QUIET, "queue": True}, concurrency_limit=_OPENING)


def _check_types(block_fn: Any, inputs: list[Any]) -> None:
    """Refuse values that the fields of the page cannot have."""
    if len(inputs) != len(block_fn.inputs):
        raise refusal(f"This request has {len(inputs)} values, and takes {len(block_fn.inputs)}.")
    for block, value in zip(block_fn.inputs, inputs, strict=True):
        if isinstance(block, gr.Slider):
            right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            kind = "a number"
            if right and not block.minimum <= value <= block.maximum:
                bounds = f"{block.minimum:g} to {block.maximum:g}"
                raise refusal(f"{block.label}: {str(value)[:20]} is outside {bounds}; give a number within.")
        elif isinstance(block, gr.Textbox):
            right = isinstance(value, str | int) and not isinstance(value, bool)
            kind = "a line of text"
        elif isinstance(block, gr.Dropdown):
            right, kind = isinstance(value, str) and value.isprintable(), "a line of text"
        elif isinstance(block, gr.Image | gr.UploadButton):
            right = value is None or (isinstance(value, dict) and isinstance(value.get("path"), str))
            kind = "a file that was uploaded"
        else:
            continue
        if not right:
            raise refusal(f"{block.label}: {repr(value)[:60]} is not {kind}.")


@cache
def _process_folder() -> Path:
    """Return the folder of this process, gone when it ends.

    Gradio asks the environment for its folder at each request, and copies into it what lies outside: with a
    folder for each app there, an earlier app would copy what it shows into that of a later one.
    """
    folder = Path(tempfile.mkdtemp(prefix="skindiff-demo-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def build_app(config: DemoConfig) -> DemoApp:
    """Return the app, not yet served; :func:`launch_demo` serves it as it is meant to be.

    ``GRADIO_TEMP_DIR`` is set to a folder of this process, in which each app has its own: that holds nothing
    but what the sessions of this app upload and see.

    Raises:
        ConfigError: a setting cannot work.
    """
    config.validate("demo.")
    torch.set_num_threads(config.threads or usual_threads())
    os.environ["GRADIO_TEMP_DIR"] = str(_process_folder())
    folder = Path(tempfile.mkdtemp(dir=_process_folder()))
    files, listeners = SessionFiles(folder), Listeners()
    events = DemoEvents(config, files)
    age = config.keep_minutes * 60
    with DemoApp(title="skindiff", analytics_enabled=False, delete_cache=(_SWEEP_SECONDS, age)) as app:
        app.folder, app.files, app.listeners = folder, files, listeners
        app.cache, app.visits = events.cache, events.visits
        weakref.finalize(app, shutil.rmtree, folder, ignore_errors=True)
        app.upload_file_set = Uploads(files)
        app.temp_file_sets.append(app.upload_file_set)
        gr.HTML(theme.HEADER)
        with gr.Tabs() as tabs:
            with gr.Tab("Generate", id="generate"):
                filled = {"generate": draw_page(events)}
            with gr.Tab("Photograph", id="photograph"):
                examples = _write_examples(files)
                filled["photograph"] = photograph_page(events, examples)
            with gr.Tab("Compare", id="compare"):
                filled["compare"] = compare_page(events)
            with gr.Tab("Report", id="report"):
                report_page(events)
        _take_address(app, events, tabs, filled)
        app.opening = Opening(
            events,
            _phantom(*_EXAMPLES[-1][:2], len(_EXAMPLES) - 1),
            examples[-1].condition,
            examples[-1].skin_type,
        )
        for page, shown in (
            ("generate", app.opening.drawn),
            ("photograph", app.opening.transferred),
            ("compare", app.opening.compared),
        ):
            app.load(shown, None, filled[page].opened, **{**QUIET, "queue": True}, concurrency_limit=_OPENING)
        gr.HTML(glossary())
        app.unload(events.goodbye)
    app.state_session_capacity = _SESSIONS
    # Without open_api no request can bypass the queue.
    app.queue(default_concurrency_limit=1, api_open=False)
    app._queue = TurnQueue(
        listeners=listeners,
        visits=events.visits,
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
        app.opening.start()
        logger.info("the demo is at %s", app.local_url)
        if wait:
            app.block_thread()
    except BaseException:
        app.close(verbose=False)
        raise
    return app


def _guarded(app: DemoApp, config: DemoConfig, logins: list[tuple[str, str]] | None) -> Guard:
    """Return the app with its server's routes and, around them, the guard."""
    max_bytes, doors = int(config.max_upload_mb * MEGABYTE), Doors(config.allowed_hosts)
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
        head=theme.HEAD,
    )
    mounted: Any = served.routes[-1]
    app.app = app.server_app = mounted.app
    app.app.uploaded_file_dir = str(app.folder)
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


def _phantom(skin_type: str, lesion: str, number: int) -> Pixels:
    return render_phantom(skin_type, lesion, _EXAMPLE_SIZE, "demo", number).pixels


def _write_examples(files: SessionFiles) -> list[Example]:
    """Render phantoms to try, which belong to the app rather than to a session."""
    return [
        Example(
            files.keep(
                APP,
                png_bytes(_phantom(skin_type, lesion, number)),
                f"{lesion}.png",
            ),
            lesion.capitalize(),
            condition,
            skin_type,
        )
        for number, (skin_type, lesion, condition) in enumerate(_EXAMPLES)
    ]
