"""The chapters on fairness of a study: by what is scarce, by what else is known, and by both together."""

from collections.abc import Sequence

from skindiff.classification.cells import Cell
from skindiff.corpora.attribute import SKIN_COLUMN, SKIN_TYPE, Attribute, titled
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.evaluation.fairness.content import FairnessConfig, fairness_content
from skindiff.evaluation.fairness.rows import FairnessContent


def fairness_chapters(
    cells: Sequence[Cell], attribute: Attribute, *, replicates: int = 2000
) -> tuple[FairnessContent, list[FairnessContent]]:
    """Return scores by the groups of an attribute, and those by further attributes and their intersections.

    A chapter that has no group is left out. Changes are corrected within each chapter, as one family; cells
    of few patients are suppressed, those of intersections above all.

    Args:
        cells: predictions of every arm and seed.
        attribute: of the corpus. Beside another than the skin type the skin types have a chapter too.
        replicates: of the bootstrap over patients.

    Returns:
        The content by the attribute, empty without any group, and the further chapters.
    """
    first = attribute.column
    others = [name for name in dict.fromkeys([*attribute.further, SKIN_COLUMN]) if name != first]
    found = [
        _chapter(cells, attribute, by, replicates)
        for by in ([first], *([one] for one in others), *([first, one] for one in others))
    ]
    return found[0], [chapter for chapter in found[1:] if chapter]


def _chapter(cells: Sequence[Cell], attribute: Attribute, by: list[str], replicates: int) -> FairnessContent:
    """Return the content by one column or by two; a gap is shown where the sides of it are stated."""
    config = FairnessConfig(advantaged=[], disadvantaged=[])
    if by == [attribute.column]:
        config = FairnessConfig(advantaged=attribute.of_majority, disadvantaged=attribute.of_minority)
    elif by == [SKIN_COLUMN]:
        config = FairnessConfig(advantaged=SKIN_TYPE.of_majority, disadvantaged=SKIN_TYPE.of_minority)
    if by == [SKIN_COLUMN]:
        return fairness_content(cells, config, replicates=replicates)
    orders = [_order(cells, attribute, column) for column in by]
    order = orders[0] if len(by) == 1 else [_joined(by, [a, b]) for a in orders[0] for b in orders[1]]
    content = fairness_content(
        cells, config, group_of=_groups_of(cells, by), order=order, replicates=replicates
    )
    if content:
        content["settings"]["by"] = by
    return content


def _groups_of(cells: Sequence[Cell], by: Sequence[str]) -> dict[str, str]:
    """Return the group of every image of which all columns are recorded, by its id."""
    found: dict[str, str] = {}
    for cell in cells:
        columns = [cell.skin_types if name == SKIN_COLUMN else cell.attributes.get(name) for name in by]
        if None in columns:
            continue
        for image, *values in zip(cell.image_ids, *(column for column in columns if column), strict=True):
            if None not in values:
                found[image] = values[0] if len(by) == 1 else _joined(by, values)
    return found


def _joined(by: Sequence[str], values: Sequence[str]) -> str:
    return ", ".join(titled(column, value) for column, value in zip(by, values, strict=True))


def _order(cells: Sequence[Cell], attribute: Attribute, column: str) -> list[str]:
    if column == SKIN_COLUMN:
        return list(SKIN_TYPES)
    seen = {value for cell in cells for value in cell.attributes.get(column, ()) if value is not None}
    return [*dict.fromkeys([*attribute.ordered(column), *sorted(seen)])]
