"""What a cell is called does not depend on its split: a summary has the means of splits."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from datasets import Dataset

from skindiff.classification.arm_names import parse_arm
from skindiff.classification.jobs import Job
from skindiff.classification.probe import ProbeConfig
from skindiff.study import Study
from skindiff.synthesis.strategies import Synthetic


def job(kept: list[int] | None, share: float) -> Job:
    """A training on some of 500 synthetic images."""
    summary = cast(Any, {"planned": 500})
    drawn = Synthetic(Dataset.from_dict({}), cast(Any, None), "ddpm", "ddpm", "ddpm", summary)
    arm = parse_arm("real+syn:tone" if kept else "real+syn")
    return Job(arm, None, "probe:lite0", ProbeConfig(), 0, drawn, kept, kept_share=share)


@pytest.mark.parametrize(("kept", "share", "ratio"), [(249, 0.5, 2.5), (251, 0.5, 2.5), (None, 1.0, 5.0)])
def test_the_ratio_is_what_was_asked_for(kept: int | None, share: float, ratio: float) -> None:
    """A filter that keeps the same share of every class keeps a row more in one split than in another."""
    split = SimpleNamespace(train=range(100), split=SimpleNamespace(seed=3))
    key = job(None if kept is None else list(range(kept)), share).key(cast(Study, split), "iii", "dark")
    assert key.ratio == ratio
    assert key.split_seed == 3
