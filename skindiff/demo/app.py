"""The demo as a Gradio app."""

import logging
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from gradio_client.utils import is_file_obj, is_http_url_like, traverse

from skindiff.corpora.phantom import render_phantom
from skindiff.demo import theme
from skindiff.demo.config import DemoConfig
from skindiff.demo.events import DemoEvents, refusal
from skindiff.demo.files import APP, SessionFiles, Uploads
from skindiff.demo.pages import compare_page, draw_page, photograph_page, report_page
from skindiff.demo.photographs import GONE, png_bytes
from skindiff.errors import ConfigError

logger = logging.getLogger(__name__)

_EXAMPLES = (("II", "ring"), ("III", "plaque"), ("V", "nodule"))
_EXAMPLE_SIZE = 128
_SESSIONS = 200
_SWEEP_SECONDS = 60


class DemoApp(gr.Blocks):
    """The app; ``folder`` holds what visitors upload and see, and goes when the app is closed."""

    folder: Path
    files: SessionFiles

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **more: Any) -> list[Any]:
        """Prepare what a client sends; Gradio touches no path that is not one of ``files``."""
        traverse(inputs, self._refuse_foreign, is_file_obj)
        found: list[Any] = await super().preprocess_data(block_fn, inputs, *args, **more)
        return found

    def _refuse_foreign(self, file: dict[str, Any]) -> None:
        if not is_http_url_like(file["path"]) and not self.files.has(file["path"]):
            raise refusal(GONE)

    def close(self, verbose: bool = True) -> None:
        """Stop serving and delete all files of the sessions."""
        super().close(verbose)
        shutil.rmtree(self.folder, ignore_errors=True)


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
    files = SessionFiles(folder)
    events = DemoEvents(config, files)
    age = config.keep_minutes * 60
    with DemoApp(title="skindiff", analytics_enabled=False, delete_cache=(_SWEEP_SECONDS, age)) as app:
        app.folder, app.files = folder, files
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
    # Without open_api no request can bypass the queue.
    app.queue(max_size=config.queue_size, default_concurrency_limit=1, api_open=False)
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
        app.launch(
            server_name=config.host,
            server_port=config.port or free_port(config.host),
            auth=logins,
            max_file_size=int(config.max_upload_mb * 1e6),
            inbrowser=config.open_browser,
            prevent_thread_lock=True,
            share=False,
            show_error=False,
            quiet=True,
            ssr_mode=False,
            enable_monitoring=False,
            state_session_capacity=_SESSIONS,
            footer_links=["api", "settings"],
            theme=theme.theme(),
            css=theme.CSS,
            # This skips only a check of the page that takes three seconds and fails on a busy machine.
            _frontend=False,
        )
    except OSError as error:
        app.close(verbose=False)
        raise ConfigError(
            f"demo.port: {config.port} on {config.host} is taken; give another, or null for a free one"
        ) from error
    logger.info("the demo is at %s", app.local_url)
    if wait:
        try:
            app.block_thread()
        finally:
            app.close(verbose=False)
    return app


def free_port(host: str) -> int:
    """Return a port that nothing listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


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
