"""How near a generator comes to real images, as far as a run that the demo shows has measured it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

from skindiff.errors import RunFolderError
from skindiff.foreign import Malformed, refuse_unlike
from skindiff.report.fidelity import score_text
from skindiff.report.read import REPORT_FILE, read_report
from skindiff.synthesis.strategies import label_of

logger = logging.getLogger(__name__)


class _Made(TypedDict):
    """What is read of a row of ``synthesis``."""

    strategy: str
    seed: int
    generator: str
    name: NotRequired[str]


class _Scored(TypedDict):
    """What is read of a row of ``fidelity``."""

    images: str
    seed: int
    features: str
    generated: int
    scores: dict[str, float]


class _Recorded(TypedDict, total=False):
    synthesis: list[_Made]
    fidelity: list[_Scored]


def _network(row: _Scored) -> str:
    return row["features"].partition(" (")[0]  # where its weights are from is in the report


def measured_kid(runs: Mapping[str, str], generator: str) -> list[str]:
    """Return the KID of a generator's images with its 95% interval, each in words, as reports have it.

    A run without a ``report.json`` says nothing of it; one that cannot be read is logged.

    Args:
        runs: folders of the finished runs that the demo shows, by name.
        generator: ``id@revision``, as provenance has it.
    """
    found = []
    for run, folder in runs.items():
        if not (Path(folder) / REPORT_FILE).is_file():
            continue
        try:
            report = read_report(Path(folder))
            refuse_unlike(report, _Recorded, "the report")
        except (RunFolderError, Malformed) as error:
            logger.warning("run %s: its fidelity is not shown: %s", run, error)
            continue
        own = {
            (label_of(row["strategy"], row.get("name")), row["seed"])
            for row in report.get("synthesis", [])
            if row["generator"] == generator
        }
        found += [
            f"{score_text(row['scores'], 'kid')} ({row['generated']} images, {_network(row)}, run {run})"
            for row in report.get("fidelity", [])
            if (row["images"], row["seed"]) in own and "kid" in row["scores"]
        ]
    return found
