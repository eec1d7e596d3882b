"""Training tables of the arms that a study compares, from one split's real rows and its synthetic rows.

Their names and what they stand for: :mod:`skindiff.classification.arm_names`.
"""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset, Value, concatenate_datasets

from skindiff.classification.arm_names import parse_arm
from skindiff.corpora.attribute import SKIN_COLUMN
from skindiff.corpora.schema import REAL_COLUMNS
from skindiff.errors import ConfigError
from skindiff.seeding import numpy_generator


def build_arm(
    arm: str,
    real: Dataset,
    synthetic: Dataset | None = None,
    *,
    colour: Dataset | None = None,
    ratio: float | None = None,
    seed: int = 0,
    column: str = SKIN_COLUMN,
) -> Dataset:
    """Return the training table of an arm, with the columns of the schema and that of what is scarce; no
    image is decoded.

    Args:
        arm: its name; filters and views do not change the rows that are taken from these tables.
        real: the split's real training rows.
        synthetic: the rows made from them; with ``source_id`` the controls repeat or recolour the very
            images that were transferred, without it (text-to-image) images of the same class. Needed by every
            arm but ``real``.
        colour: tone-transferred copies of real rows, with ``source_id``; needed by ``real+colour``.
        ratio: synthetic rows per real row; all of them if left out. Sources are used evenly: none for the
            second time before all were used once.
        seed: names the random stream of what ``ratio`` leaves out and of what fills in for missing sources.
        column: of what is scarce in the corpus; null in synthetic rows of which it is not known.

    Raises:
        ConfigError: the arm is no arm, a table it needs is missing or has other classes, or there are not
            enough synthetic rows for the ratio.
    """
    arm = parse_arm(arm).rows
    if arm == "real":
        return _columns(real, real, column)
    added = _added_rows(_needed(synthetic, arm, "synthetic"), len(real), ratio, seed)
    if arm == "syn":
        return _columns(added, real, column)
    if arm == "real+duplicates":
        added = real.select(_stand_ins(added, real["image_id"][:], real, seed))
    if arm == "real+colour":
        copies = _needed(colour, arm, "colour")
        added = copies.select(_stand_ins(added, copies["source_id"][:], copies, seed))
    return concatenate_datasets([_columns(real, real, column), _columns(added, real, column)])


def _needed(table: Dataset | None, arm: str, name: str) -> Dataset:
    if table is None or len(table) == 0:
        raise ConfigError(f"arms: {arm!r} needs {name} rows and there are none; make some or drop the arm")
    return table


def _columns(table: Dataset, like: Dataset, column: str) -> Dataset:
    """Return the schema's columns, and one more, of a table whose class codes mean the same as those of
    ``like``."""
    mine, theirs = table.features["label"], like.features["label"]
    if mine != theirs:
        raise ConfigError(
            f"arms: classes {mine.names} and {theirs.names} cannot be joined; use one list of classes"
        )
    if column not in table.column_names:
        table = table.add_column(column, [None] * len(table), feature=Value("string"))
    return table.select_columns(list(dict.fromkeys([*REAL_COLUMNS, column])))


def _added_rows(synthetic: Dataset, real_rows: int, ratio: float | None, seed: int) -> Dataset:
    """Return the synthetic rows that ``ratio`` asks for, in their own order."""
    if ratio is None:
        return synthetic
    wanted = round(ratio * real_rows)
    if not 0 < wanted <= len(synthetic):
        raise ConfigError(
            f"ratio: {ratio} x {real_rows} real rows asks for {wanted} synthetic rows and there are "
            f"{len(synthetic)}; generate more images per source or lower the ratio"
        )
    shuffled = numpy_generator("arm ratio", seed).permutation(len(synthetic))
    sources = _sources(synthetic)
    turns: dict[str, int] = {}
    turn_of = np.zeros(len(synthetic), dtype=np.int64)
    for row in shuffled.tolist():
        turn_of[row] = turns.get(sources[row], 0)
        turns[sources[row]] = int(turn_of[row]) + 1
    by_turn = shuffled[np.argsort(turn_of[shuffled], kind="stable")]
    return synthetic.select(sorted(by_turn[:wanted].tolist()))


def _sources(synthetic: Dataset) -> list[str]:
    """Return each row's source, and for a row without one its class instead."""
    labels = [f"class {label}" for label in synthetic["label"][:]]
    known = synthetic["source_id"][:] if "source_id" in synthetic.column_names else [None] * len(labels)
    return [source or label for source, label in zip(known, labels, strict=True)]


def _stand_ins(added: Dataset, pool_ids: Sequence[str], pool: Dataset, seed: int) -> list[int]:
    """Return for every added row a row of ``pool`` of the same source, else of the same class, in turn."""
    by_name: dict[str, list[int]] = {}
    labels = pool["label"][:]
    for row in numpy_generator("arm stand-ins", seed).permutation(len(pool)).tolist():
        for name in (pool_ids[row], f"class {labels[row]}"):
            by_name.setdefault(name, []).append(row)
    used: dict[str, int] = {}
    rows = []
    for source, label in zip(_sources(added), added["label"][:], strict=True):
        name = source if source in by_name else f"class {label}"
        if name not in by_name:
            raise ConfigError(f"arms: no row of class {label} can stand in for the synthetic rows of it")
        rows.append(by_name[name][used.get(name, 0) % len(by_name[name])])
        used[name] = used.get(name, 0) + 1
    return rows
