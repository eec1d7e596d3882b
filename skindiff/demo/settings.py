"""The settings of a page: as a file in the zip, and in the page's address.

A file and an address may be a stranger's: both are read by the same shape and bounds, and what is not one of
them is refused.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, cast
from urllib.parse import urlencode

from skindiff.demo.config import DemoConfig
from skindiff.demo.words import ALL, ANY
from skindiff.errors import SynthesisError
from skindiff.foreign import Malformed, read_json, refuse_unlike

TAB = "tab"
"""Where an address has the page; Gradio takes ``page`` for one of its own."""
MOST_BYTES = 20_000
_LONGEST = 300
_NUMBERS = {"images": int, "steps": int, "guidance": float, "strength": float}


class PageSettings(TypedDict):
    """What stands in the fields of a page; the seed as text, which no program rounds."""

    schema: Literal["skindiff demo 1"]
    page: Literal["generate", "photograph", "compare"]
    generator: str
    second: str
    condition: str
    skin_type: str
    target: str
    images: int
    guidance: float
    steps: int
    seed: str
    strength: float
    tone: str


DEFAULTS: PageSettings = {
    "schema": "skindiff demo 1",
    "page": "generate",
    "generator": "bundled",
    "second": "",
    "condition": "",
    "skin_type": ANY,
    "target": ALL,
    "images": 1,
    "guidance": 2.0,
    "steps": 14,
    "seed": "0",
    "strength": 0.3,
    "tone": "prototype_colour",
}
PAGES = {
    "generate": ("generator", "condition", "skin_type", "images", "guidance", "steps", "seed"),
    "photograph": (
        "generator", "condition", "skin_type", "target", "strength", "guidance", "steps", "seed", "tone",
    ),
    "compare": ("generator", "second", "condition", "skin_type", "images", "guidance", "steps", "seed"),
}  # fmt: skip
"""The fields of each page, in the order of its event."""
GENERATORS = ("generator", "second")
DESCRIBED = {
    "generate": ("generator", "condition", "skin_type"),
    "photograph": ("generator", "condition", "skin_type", "target"),
    "compare": ("generator", "second", "condition", "skin_type"),
}
"""The fields of each page that say what its generators are asked for; the generators first."""
_TONES = ("prototype_colour", "colour", "none")


def bounds_of(name: str, page: str, config: DemoConfig) -> tuple[float, float]:
    """Return the least and the most that a field of a page can be; any number for one without bounds."""
    images = config.max_images // 2 if page == "compare" else config.max_images
    return {
        "images": (1, max(1, images)),
        "steps": (1, config.max_steps),
        "guidance": (1, 10),
        "strength": (0.05, 1),
    }.get(name, (-math.inf, math.inf))


def page_settings(page: str, **fields: Any) -> PageSettings:
    """Return the settings of a page from its fields."""
    return cast(PageSettings, {**DEFAULTS, "page": page, **fields})


def settings_bytes(settings: PageSettings, indices: Sequence[int] = ()) -> bytes:
    """Return ``settings.json``: the fields of its page alone, and the place in the request of each image."""
    names = ("schema", "page", *PAGES[settings["page"]])
    fields: dict[str, Any] = {name: settings[name] for name in names}  # type: ignore[literal-required]
    return (json.dumps({**fields, "indices": list(indices)}) + "\n").encode()


def read_settings(path: Path, page: str, config: DemoConfig) -> PageSettings:
    """Return the settings of a file that a visitor has uploaded.

    Raises:
        SynthesisError: it is too large, no such file, of another page, or has a number that the fields of
            this demo cannot have; no words of it are quoted.
    """
    try:
        content = read_json(path, MOST_BYTES)
    except Malformed as error:
        raise SynthesisError(
            f"settings: this file holds none ({error}); choose the settings.json of a downloaded zip"
        ) from None
    return _checked(content, page, config)


def read_address(query: Mapping[str, str], config: DemoConfig) -> PageSettings | None:
    """Return the settings in a page's address, None where there are none.

    Raises:
        SynthesisError: they cannot be.
    """
    names = [name for name in DEFAULTS if name not in ("schema", "page")]
    content: dict[str, Any] = {name: query[name] for name in names if name in query}
    page = content["page"] = query.get(TAB)
    if page not in PAGES:
        return None
    for name, kind in _NUMBERS.items():
        if name in content:
            try:
                content[name] = kind(content[name][:20])
            except ValueError:
                content[name] = math.nan
            if not math.isfinite(content[name]):
                raise SynthesisError(f"settings: {name} in the address is no number; correct it")
    return _checked({**DEFAULTS, **content}, str(page), config)


def address_of(settings: PageSettings, offered: Mapping[str, str]) -> str:
    """Return the query of an address with the settings: of generators only names that the demo offers, since
    what was typed may be a folder."""
    given: Mapping[str, Any] = settings
    hidden = [name for name in GENERATORS if given[name] not in offered]
    shown = {name: given[name] for name in PAGES[settings["page"]] if name not in hidden}
    return urlencode({TAB: settings["page"], **shown})


def _checked(content: Any, page: str, config: DemoConfig) -> PageSettings:
    if isinstance(content, dict) and content.get("page") in PAGES:
        content = {name: DEFAULTS[name] for name in DEFAULTS if name not in content} | content  # type: ignore[literal-required]
    try:
        refuse_unlike(content, PageSettings, "settings")
    except Malformed as error:
        raise SynthesisError(
            f"settings: these are none of this demo ({error}); choose the settings.json of a downloaded zip"
        ) from None
    found = cast(PageSettings, {name: content[name] for name in DEFAULTS})
    words = [value for value in found.values() if isinstance(value, str)]
    if found["page"] != page:
        raise SynthesisError(f"settings: they are of the page {found['page']}; load them there")
    if any(len(value) > _LONGEST or not value.isprintable() for value in words):
        raise SynthesisError("settings: a word is too long or cannot be shown; choose another file")
    if found["tone"] not in _TONES:
        raise SynthesisError(f"settings: tone is none of {', '.join(_TONES)}; correct it")
    for name in PAGES[page]:
        least, most = bounds_of(name, page, config)
        if name in _NUMBERS and not least <= found[name] <= most:  # type: ignore[literal-required]
            raise SynthesisError(f"settings: {name} is outside {least:g} to {most:g}; correct it")
    return found
