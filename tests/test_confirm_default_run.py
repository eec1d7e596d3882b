"""The phantom seeds of a confirmation are nobody's choice, and its rows are the intervals that decide."""

from typing import Any

from tests.test_scripts import load_script

confirm = load_script("confirm_default_run")
COMMIT = "c7de42bbf0dcba383f7498df8eb0bc4072ed1a09"


def test_seeds_are_read_off_the_hash() -> None:
    seeds = confirm.seeds_of(COMMIT)
    assert seeds[:2] == [0xC7DE, 0x42BB]
    assert len(seeds) == 10
    assert not set(seeds) & set(confirm.seeds_of(COMMIT, further=True))


def test_a_row_has_the_intervals_that_decide() -> None:
    def row(arm: str, reference: str, delta: float, role: str) -> dict[str, Any]:
        own = {"arm": arm, "reference": reference, "metric": "balanced_accuracy", "role": role}
        shown = {"chance": 0.2, "mean": 0.5, "ci_low": 0.4, "ci_high": 0.6, "delta": delta}
        narrow = {"delta_ci_low": delta - 0.1, "delta_ci_high": delta + 0.1}
        return {**own, **shown, **narrow, "delta_ci_low_corrected": -1.0, "delta_ci_high_corrected": 1.0}

    summary = [
        row("real+syn", "real", 0.25, "primary"),
        row("real+syn", "real+duplicates", 0.5, "then"),
        row("real+colour", "real", 0.125, "exploratory"),
        row("real", "", 0.0, "reference"),
    ]
    verdicts = [
        {"arm": "real+syn", "reference": "real", "verdict": "helps"},
        {"arm": "real+syn", "reference": "real+duplicates", "verdict": "can't tell"},
    ]
    found = confirm.row_of({"summary": summary, "verdicts": verdicts}, seed=7, minutes=8.04)
    assert (found["seed"], found["minutes"], found["real"]) == (7, 8.0, [0.5, 0.4, 0.6])
    assert found["real+syn - real"] == [0.25, 0.15, 0.35]
    assert found["real+colour - real"] == [0.125, -1.0, 1.0]
    assert found["verdicts"] == ["helps", "can't tell"]
