"""Keep the report and the first adapter of the default study, on phantom images, for the demo to open on.

    accelerate launch recipes/fitz_lora.py
    python scripts/keep_phantom_study.py runs/fitz_lora_smoke

Writes ``skindiff/assets/phantom_study/report.html``, with its pictures in fewer colours, since it is in git,
and ``skindiff/assets/phantom-lora``, the LoRA of the first seed (``bundled-lora``).
A run on photographs is refused, and one of other settings.
"""

import base64
import io
import re
import shutil
from pathlib import Path

from jsonargparse import auto_cli
from PIL import Image

from skindiff.demo.reports import EXAMPLE, PAGE
from skindiff.errors import ConfigError
from skindiff.generators.adapter import Adapter, read_adapter
from skindiff.report.read import read_report

COLOURS = 96
LARGEST_BYTES = 2_000_000
_PICTURE = re.compile(r"data:image/webp;base64,([A-Za-z0-9+/=]+)")


def main(run: str) -> None:
    """Keep the report and the first adapter of a run.

    Args:
        run: its folder.

    Raises:
        ConfigError: it shows photographs, has other settings or no LoRA, or the page is too large.
    """
    report = read_report(Path(run))
    settings = report.get("settings") or {}
    if report["corpus"]["name"] != "phantom" or settings != {"name": "smoke", "changed": False}:
        raise ConfigError(f"run: {run} is not the default study on phantom; give one")
    page = _PICTURE.sub(_in_few_colours, (Path(run) / PAGE).read_text(encoding="utf-8"))
    if len(page) > LARGEST_BYTES:
        raise ConfigError(f"run: the page has {len(page):,} bytes, and {LARGEST_BYTES:,} are allowed")
    adapter = first_adapter(Path(run))
    kept = EXAMPLE.with_name("phantom-lora")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(adapter.folder, kept)
    print(f"{kept}: of {adapter.folder}")
    EXAMPLE.mkdir(parents=True, exist_ok=True)
    (EXAMPLE / PAGE).write_text(page, encoding="utf-8")
    print(f"{EXAMPLE / PAGE}: {len(page):,} bytes")


def first_adapter(run: Path) -> Adapter:
    """Return the LoRA of the first seed of a run."""
    found = [read_adapter(folder) for folder in run.glob("stages/lora-*/adapter")]
    if not found:
        raise ConfigError(f"run: {run} has no LoRA of its own; give one that trained it")
    return min(found, key=lambda adapter: int(adapter.config["lora"]["loop"]["seed"]))


def _in_few_colours(found: re.Match[str]) -> str:
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    few.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


if __name__ == "__main__":
    auto_cli(main)
