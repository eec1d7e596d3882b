"""The words of every prompt: the paper's template, with a phrase for what is scarce."""

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.errors import ConfigError, GeneratorError


def prompt_for(
    subject: str, value: str | None = None, attribute: Attribute = SKIN_TYPE, caption: str = ""
) -> str:
    """Return the paper's prompt for a subject, with the value of the attribute when it is known.

    Args:
        subject: a condition's name (``"psoriasis"``) or a learned token (``"<skindiff-psoriasis>"``).
        value: of the attribute (a skin type: ``"I"`` to ``"VI"``), or ``None`` (not recorded), which leaves
            its phrase out.
        attribute: whose phrases are used.
        caption: further words, which end the prompt.

    Returns:
        ``"An image of {subject} on the skin of {tone} individual"`` for a skin type, the subject and the
        phrase of the value for another attribute, or ``"An image of {subject}"``.

    Raises:
        GeneratorError: when ``value`` is no value of the attribute.
    """
    end = f", {caption}" if caption else ""
    if value is None:
        return f"An image of {subject}{end}"
    try:
        return f"An image of {subject}{attribute.clause(value)}{end}"
    except ConfigError:
        raise GeneratorError(
            f"{attribute.column} {value!r} has no prompt words: use one of "
            f"{', '.join(attribute.known)}, or null"
        ) from None
