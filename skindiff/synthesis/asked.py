"""What a synthesis asks for beside the class, by the attribute of the corpus: targets, and what has no
effect."""

from collections.abc import Collection

from datasets import Dataset

from skindiff.corpora.attribute import SKIN_COLUMN, Attribute
from skindiff.synthesis.config import SynthesisConfig
from skindiff.wrong_settings import refuse


def refuse_other_targets(config: SynthesisConfig, attribute: Attribute, path: str = "") -> None:
    """Raise ConfigError if images of others than the minority are to be generated in a study of it.

    Args:
        config: of the synthesis.
        attribute: whose minority the study tests.
        path: prefix of settings in error messages.
    """
    if not attribute.works:
        return
    aimed = config.aimed(attribute, f"{path}synthesis.")
    if other := [value for value in aimed.targets or () if value not in attribute.of_minority]:
        refuse(
            f"{path}synthesis.targets: {other[0]!r} is not in {path}corpus.attribute.minority "
            f"({', '.join(attribute.of_minority)}), which the study tests; leave synthesis.targets out, or "
            f"change {path}corpus.attribute.minority"
        )


def idle_of_attribute(attribute: Attribute, prefix: str = "synthesis.") -> dict[str, str]:
    """Return the settings of a synthesis that change nothing where another attribute than skin type is
    scarce.

    Args:
        attribute: of the corpus.
        prefix: of the settings' names.
    """
    if attribute.is_skin_tone:
        return {}
    why = f"the tone is moved between skin types alone, and corpus.attribute.column is {attribute.column}"
    return dict.fromkeys((f"{prefix}tone", f"{prefix}tone_strength", f"{prefix}tone_subject"), why)


def asked_column(names: Collection[str]) -> str:
    """Return the column of synthetic images that says what was asked for beside the class.

    Args:
        names: of their columns. That of another attribute than ``skin_type`` stands beside its source's.
    """
    own = [name for name in names if f"source_{name}" in names and name != SKIN_COLUMN]
    return own[0] if own else SKIN_COLUMN


def value_of_rows(drawn: Dataset) -> str:
    """Return what the column of :func:`asked_column` is in synthetic images.

    Args:
        drawn: their rows.

    Returns:
        ``asked``: of a prompt; ``source``: of the real image that was reconstructed; ``unknown``: nothing, as
        families that know classes alone are asked for no value, and none is measured.
    """
    column = asked_column(drawn.column_names)
    if column not in drawn.column_names or not any(drawn[column][:]):
        return "unknown"
    return "asked" if "prompt" in drawn.column_names and any(drawn["prompt"][:]) else "source"
