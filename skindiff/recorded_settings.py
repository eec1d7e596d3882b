"""Settings as plain values for keys of stages and records of artefacts.

A setting that came later is left out where it has its default, so that what was kept before it was there
(stages of runs, recorded cells, adapters) stays what it was.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

LATER: Mapping[str, bool] = {"later": True}
"""Metadata of such a field of a dataclass; its default changes nothing."""


def recorded(settings: Any) -> Any:
    """Return settings as plain values, of a dataclass or anything that holds some."""
    if is_dataclass(settings) and not isinstance(settings, type):
        kept = [
            item.name
            for item in fields(settings)
            if item.metadata != LATER or getattr(settings, item.name) != _default(item)
        ]
        return {name: recorded(getattr(settings, name)) for name in kept}
    if isinstance(settings, Mapping):
        return {name: recorded(value) for name, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return [recorded(value) for value in settings]
    return settings


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()
