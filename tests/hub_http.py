"""The HTTP library that the client of the Hub is built on: httpx2, or httpx in its oldest version allowed."""

from importlib import import_module
from typing import Any

from huggingface_hub.errors import HfHubHTTPError

_NAMES = (kind.__module__.partition(".")[0] for kind in HfHubHTTPError.__mro__)
httpx: Any = import_module(next(name for name in _NAMES if name.startswith("httpx")))
