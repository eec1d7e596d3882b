"""The schema of all data sets: its columns, their types and the skin-type words."""

from collections.abc import Sequence

from datasets import ClassLabel, Features, Image, Value

SKIN_TYPES = ("I", "II", "III", "IV", "V", "VI")
"""Fitzpatrick skin types in the order of increasing melanin; ``None`` stands for not recorded."""

REAL_COLUMNS = ("image", "label", "skin_type", "image_id", "group_id", "corpus")
SYNTHETIC_COLUMNS = ("source_id", "prompt", "seed", "strength", "guidance_scale", "steps", "generator")


def corpus_features(class_names: Sequence[str], attributes: Sequence[str] = ()) -> Features:
    """Return the features of a corpus of real (or phantom) images.

    Args:
        class_names: the classes in the order of their codes; every table that is trained or scored
            together must be built from the same sequence.
        attributes: names of what else is known of each image, such as ``sex`` or ``site``.

    Returns:
        ``image`` (decoded lazily), ``label``, ``skin_type`` (``"I"`` to ``"VI"`` or null), ``image_id``,
        ``group_id`` (patient, lesion or duplicate cluster: what a split may never cut), ``corpus``, and the
        attributes in their order, each text or null.
    """
    return Features(
        {
            "image": Image(),
            "label": ClassLabel(names=list(class_names)),
            "skin_type": Value("string"),
            "image_id": Value("string"),
            "group_id": Value("string"),
            "corpus": Value("string"),
            **{name: Value("string") for name in attributes},
        }
    )
