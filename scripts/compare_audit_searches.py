"""What does the search for large corpora find of what comparing every image with every other finds?

    python scripts/compare_audit_searches.py --photographs DIR --work /tmp/searches

Searches a folder of photographs for near-duplicates twice: exhaustively, as a corpus of its size is, and as
if it were one of ``as_images`` images. Prints how many pairs each accepts, and draws the pairs that one alone
accepts, eight to a page, for somebody to look at. The pages show patients: a folder inside a git checkout is
refused.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

from jsonargparse import auto_cli, set_parsing_settings
from mask_contact_sheet import refuse_checkout
from PIL import Image, ImageOps

from skindiff.corpora import near_duplicates
from skindiff.corpora.audit import AuditConfig, audit_images
from skindiff.corpora.near_duplicates import Match
from skindiff.corpora.visual_words import EXHAUSTIVE, candidate_pairs
from skindiff.errors import ConfigError
from skindiff.files import write_atomically

SIDE, PAIRS = 220, 8
"""Pixels of a picture, and pairs on a page."""

logger = logging.getLogger(__name__)
Pair = tuple[str, str]


@dataclass
class Comparison:
    """What is searched."""

    photographs: str
    """Folder of photographs."""
    work: str
    """Folder for findings and pages; outside of any git checkout."""
    as_images: int = 10_000
    """How many images the corpus is taken to have in the second search."""


def accepted(paths: Mapping[str, Path], folder: Path, exhaustive: int) -> dict[Pair, Match]:
    """Return the pairs that an audit accepts which is exhaustive up to so many images."""
    config = AuditConfig()
    search = partial(candidate_pairs, exhaustive=exhaustive)
    with mock.patch.object(near_duplicates, "candidate_pairs", search):
        audit_images(paths, config, folder)
    (findings,) = folder.glob("audit-*.json")
    matches = [Match(*match) for match in json.loads(findings.read_text())["matches"]]
    return {(match.first, match.second): match for match in matches if match.accepted(config.near_duplicates)}


def draw(pairs: list[Match], files: Mapping[str, Path], folder: Path, name: str) -> None:
    """Draw pairs beside one another, four rows of two pairs a page, the mirrored one turned back."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(pairs), PAIRS)):
        page = Image.new("RGB", (4 * SIDE + 20, PAIRS // 2 * (SIDE + 4)), "white")
        for place, match in enumerate(pairs[start : start + PAIRS]):
            left, top = place % 2 * (2 * SIDE + 20), place // 2 * (SIDE + 4)
            first, second = (
                ImageOps.pad(Image.open(files[one]).convert("RGB"), (SIDE - 4, SIDE))
                for one in (match.first, match.second)
            )
            page.paste(ImageOps.mirror(first) if match.mirrored else first, (left, top))
            page.paste(second, (left + SIDE, top))
        page.save(folder / f"{name}-{number:02}.png")


def main(comparison: Comparison) -> None:
    """Search twice, and write ``searches.json`` and the pages into the folder."""
    if not Path(comparison.photographs).is_dir():
        raise ConfigError(f"photographs: {comparison.photographs} is no folder; name one of photographs")
    refuse_checkout(Path(comparison.work))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    paths = {path.stem: path for path in sorted(Path(comparison.photographs).iterdir())}
    work = Path(comparison.work)
    as_if = round(EXHAUSTIVE * len(paths) / comparison.as_images)
    every = accepted(paths, work / "exhaustive", EXHAUSTIVE)
    large = accepted(paths, work / "large", as_if)
    own = {name: sorted(one - other) for name, one, other in (
        ("exhaustive", every.keys(), large.keys()), ("large", large.keys(), every.keys())
    )}  # fmt: skip
    files = _by_content(paths)
    for name, pairs in own.items():
        draw([(every | large)[pair] for pair in pairs], files, work / "pages", name)
    found = {
        "images": len(paths),
        "as_images": comparison.as_images,
        "exhaustive": len(every),
        "large": len(large),
        "both": len(every.keys() & large.keys()),
        **{f"{name} alone": len(pairs) for name, pairs in own.items()},
    }
    write_atomically(work / "searches.json", json.dumps(found, indent=1))
    logger.info("%s", found)


def _by_content(paths: Mapping[str, Path]) -> dict[str, Path]:
    """Return the file of every content, by the SHA-256 that findings name it by."""
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in paths.values()}


if __name__ == "__main__":
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    main(auto_cli(Comparison, as_positional=False))
