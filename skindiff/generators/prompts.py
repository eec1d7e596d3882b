"""The words of every prompt: the paper's template and one phrase for each Fitzpatrick skin type."""

from skindiff.errors import GeneratorError

TONE_WORDS: dict[str, str] = {
    "I": "a very light-skinned",
    "II": "a light-skinned",
    "III": "a medium-skinned",
    "IV": "a brown-skinned",
    "V": "a dark-skinned",
    "VI": "a very dark-skinned",
}
"""Phrase for each Fitzpatrick type: the paper's for I, II, V and VI, ours for III and IV (it has none)."""


def prompt_for(subject: str, skin_type: str | None = None) -> str:
    """Return the paper's prompt for a subject, with the tone of the skin when it is known.

    Args:
        subject: a condition's name (``"psoriasis"``) or a learned token (``"<skindiff-psoriasis>"``).
        skin_type: ``"I"`` to ``"VI"``, or ``None`` (not recorded), which leaves the clause on the tone out.

    Returns:
        ``"An image of {subject} on the skin of {tone} individual"``, or ``"An image of {subject}"``.

    Raises:
        GeneratorError: when ``skin_type`` is not a Fitzpatrick type.
    """
    if skin_type is None:
        return f"An image of {subject}"
    if skin_type not in TONE_WORDS:
        raise GeneratorError(
            f"skin_type {skin_type!r} has no prompt words: use one of {', '.join(TONE_WORDS)}, or null"
        )
    return f"An image of {subject} on the skin of {TONE_WORDS[skin_type]} individual"
