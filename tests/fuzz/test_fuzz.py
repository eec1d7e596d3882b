"""A minute of hostile inputs (``SKINDIFF_FUZZ_SECONDS`` gives more); ten of other seeds by ``-m slow``."""

import os
import time
from pathlib import Path

import pytest

from tests.fuzz.engine import Kind, Outcome, fuzz, share
from tests.fuzz.kinds import KINDS

SEED = 17
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def seconds(kind: Kind, default: float) -> float:
    """The share of a kind in the budget of all."""
    return share(kind, KINDS, float(os.environ.get("SKINDIFF_FUZZ_SECONDS", default)))


def _said(outcome: Outcome, kind: Kind, seed: int) -> str:
    found = "\n".join(outcome.findings.values())
    return f"{kind.name}, seed {seed}: {outcome.tried} inputs, {len(outcome.findings)} findings\n{found}"


@each_kind
def test_nothing_is_found_in_a_minute(kind: Kind, tmp_path: Path) -> None:
    outcome = fuzz(kind, kind.prepare(tmp_path), SEED, seconds(kind, 60))
    assert not outcome.failed, _said(outcome, kind, SEED)
    assert outcome.refused


@pytest.mark.slow
@pytest.mark.timeout(3600)
@each_kind
def test_nothing_is_found_in_ten_minutes(kind: Kind, tmp_path: Path) -> None:
    seed = int(os.environ.get("SKINDIFF_FUZZ_SEED", time.time_ns() % 10**9))
    outcome = fuzz(kind, kind.prepare(tmp_path), seed, seconds(kind, 600))
    assert not outcome.failed, _said(outcome, kind, seed)
