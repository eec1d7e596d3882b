"""Learning-rate schedules as pure functions of the optimiser step.

A schedule without state cannot run too fast on several processes, and needs nothing in a checkpoint.
"""

import math
from typing import Literal

Schedule = Literal["constant", "cosine", "linear", "step_third"]
"""``step_third`` multiplies by 0.1 after each third of the steps, as the paper's classifiers do."""


def learning_rate_factor(schedule: Schedule, step: int, steps: int, warmup_steps: int = 0) -> float:
    """Return the factor in [0, 1] on the peak learning rate at ``step``.

    Args:
        schedule: the shape after the warm-up.
        step: the optimiser step about to be taken, from 0.
        steps: all optimiser steps of the training, warm-up included.
        warmup_steps: steps of a linear rise from ``1 / warmup_steps`` to 1.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    match schedule:
        case "constant":
            return 1.0
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))
        case "linear":
            return 1.0 - progress
        case "step_third":
            return 0.1 ** int(3 * step // steps)
