"""Seeds as visitors type them: whole numbers of up to 19 digits, which a browser's number would round."""

import re
import secrets

from skindiff.errors import SynthesisError

MOST_SEED = 2**63 - 1
"""The largest seed of provenance (:func:`skindiff.seeding.derive_seed`)."""
_RANDOM = 2**31


def read_seed(text: str) -> int:
    """Return the seed that was typed, a random one of up to ten digits where nothing was.

    Raises:
        SynthesisError: it is no whole number from 0 to :data:`MOST_SEED`.
    """
    text = text.strip()
    if not text:
        return secrets.randbelow(_RANDOM)
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > MOST_SEED:
        raise SynthesisError(
            f"seed: {text[:24]!r} is no whole number from 0 to {MOST_SEED}; give one, or leave it empty for "
            "a random seed"
        )
    return int(text)
