"""What the names of arms and strategies mean, in a reader's words."""

from skindiff.evaluation.statistics.rows import Verdict

_ARMS = {
    "real": "real images",
    "syn": "synthetic images alone",
    "real+syn": "real and synthetic images",
    "real+duplicates": "real images and as many repeats of them",
    "real+colour": "real images and as many recoloured copies, without a generator",
}
_MODES = {"img2img": "transferred from real images", "txt2img": "generated from text"}
_LEARNT = {
    "vanilla": "by the base model as it came",
    "ti": "after textual inversion",
    "lora": "after LoRA",
    "ti+lora": "after textual inversion and LoRA",
}


def strategy_words(strategy: str) -> str:
    """Return how images of a strategy come about, such as ``img2img ti+lora``; other names as they are."""
    mode, _, learnt = strategy.partition(" ")
    if mode in _MODES and learnt in _LEARNT:
        return f"{_MODES[mode]} {_LEARNT[learnt]}"
    return strategy


def contrast_words(verdict: Verdict) -> str:
    """Return what a verdict compares; empty where an arm is none of the usual ones."""
    arm, reference = _ARMS.get(verdict["arm"]), _ARMS.get(verdict["reference"] or "")
    return f"{arm}, against {reference}" if arm and reference else ""
