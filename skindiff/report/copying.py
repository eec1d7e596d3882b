"""The section on copying: shares of near copies, what would have been found, and the closest pairs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from datasets import Dataset

from skindiff.escaping import prose
from skindiff.measures.copying.near_copies import NearCopies
from skindiff.measures.copying.rows import CopyingRow, Share, ThresholdRow
from skindiff.report.content import MeasuredContent
from skindiff.report.drawing import bare, drawing
from skindiff.report.study_section import Picture, StudySection, markdown_table

LISTED, DRAWN = 5, 12
"""Closest pairs in the table, and of a generator in the picture."""
_COLUMNS = 6


def copying_section(content: MeasuredContent, photographs: Sequence[Picture] = ()) -> StudySection:
    """Return the section on copying, empty where copies were not searched for.

    Args:
        content: of ``report.json``; its key ``copying`` has what
            :func:`~skindiff.measures.copying.stage.find_copies` returned, for every generator and seed.
        photographs: from :func:`closest_pairs_picture`; left out of reports that include no images.
    """
    rows = content.get("copying") or []
    if not rows:
        return StudySection("Copying")
    parts = [_warnings(rows), _shares(rows), _about(rows), _sides(rows), _planted(rows), _closest(rows)]
    text = "\n\n".join(part for part in parts if part)
    return StudySection("Copying", text, photographs=tuple(photographs))


def closest_pairs_picture(name: str, report: NearCopies, generated: Dataset, training: Dataset) -> Picture:
    """Return the picture of a generator's closest pairs: synthetic images above the nearest training images.

    It shows photographs of the corpus.

    Args:
        name: of the generator, for file name and caption.
        report: of its images, from :func:`~skindiff.measures.copying.near_copies.load_near_copies`.
        generated: the images of ``report``, in order.
        training: ``image``, ``image_id``.
    """
    nearest = sorted(range(len(report.rows)), key=lambda row: -report.rows[row].other_similarity)[:DRAWN]
    places = {image_id: row for row, image_id in enumerate(training["image_id"][:])}
    pairs = [
        (row, places[other], report.rows[row].other_similarity)
        for row in nearest
        if (other := report.rows[row].other_source) is not None
    ]
    caption = (
        f"{name}: the closest pairs of the first split, synthetic image above and training image below, and "
        "their similarity."
    )
    stem = name.replace(" ", "-").replace("+", "-")
    return f"closest-pairs-{stem}.png", caption, _drawing(pairs, generated, training)


def _drawing(
    pairs: Sequence[tuple[int, int, float]], generated: Dataset, training: Dataset
) -> Callable[[Path], None]:
    def draw(path: Path) -> None:
        lines = -(-len(pairs) // _COLUMNS)
        with drawing(1.35 * _COLUMNS + 1.0, 3.0 * lines, path) as figure:
            axes = figure.subplots(2 * lines, _COLUMNS, squeeze=False)
            for axis in axes.flat:
                bare(axis)
            for line in range(lines):
                for place, what in enumerate(("synthetic", "training")):
                    label = axes[2 * line + place, 0].set_ylabel(what, rotation=0, ha="right", va="center")
                    label.set_fontweight("bold")
            for place, (drawn, real, similarity) in enumerate(pairs):
                line, column = divmod(place, _COLUMNS)
                shown = (generated[drawn]["image"], training[real]["image"])
                for down, image in enumerate(shown):
                    smooth = "nearest" if image.height < 128 else "auto"
                    axes[2 * line + down, column].imshow(image.convert("RGB"), interpolation=smooth)
                axes[2 * line, column].set_title(f"{similarity:.3f}", loc="center", fontweight="normal")

    return draw


def _about(rows: Sequence[CopyingRow]) -> str:
    limit, aim = rows[0]["threshold"], f"{100 * rows[0]['threshold']['false_flags']:g}%"
    where = (
        f"It is set so that at most {aim} of unseen real images, by group, reach it"
        if limit["source"] == "held-out"
        else f"It is the default: there are too few held-out images to set one with {aim} of false alarms"
    )
    return (
        f"Are synthetic images copies of training images? Measure: {rows[0]['measure']}. A synthetic image "
        f"counts as a near copy if its similarity to a training image reaches the threshold. {where}. A "
        "transferred image is near its source by design, so the source's group has its own column. "
        "Intervals are 95%, over sources."
    )


def _shares(rows: Sequence[CopyingRow]) -> str:
    headings = [
        "images",
        "synthetic",
        "training",
        "threshold",
        "near copies",
        "of own source",
        "unseen real",
    ]
    lines = [
        [
            _name(row),
            str(row["generated"]),
            str(row["training"]),
            f"{row['threshold']['value']:.3f}",
            _share(row["near_copies"]),
            _share(row["of_own_group"]) if row["of_own_group"] else "no sources",
            _flagged(row["threshold"]),
        ]
        for row in rows
    ]
    return markdown_table(headings, lines)


def _flagged(limit: ThresholdRow) -> str:
    if not limit["groups"]:
        return "none held out"
    return f"{limit['flagged_groups']} of {limit['groups']} (at most {100 * limit['bound']:.1f}%)"


def _sides(rows: Sequence[CopyingRow]) -> str:
    """Return the comparison with as many training as held-out images."""
    compared = [(row, side) for row in rows if (side := row["either_side"])]
    if not compared:
        return ""
    lines = []
    for row, side in compared:
        interval: Share = {
            "share": side["nearer_training"],
            "low": side["nearer_training_low"],
            "high": side["nearer_training_high"],
        }
        lines.append(
            [
                _name(row),
                str(side["a_side"]),
                f"{100 * side['near_training']:.1f}%",
                f"{100 * side['near_held_out']:.1f}%",
                _share(interval),
            ]
        )
    # A transfer shares its source's light and framing with other training images, so half says nothing there.
    untransferred = any(not row["of_own_group"] for row, _ in compared)
    about = (
        "Compared with equally many training and held-out images of every class: the share of near copies of "
        "each, and the share of synthetic images that are nearer to a training image."
        + " Images that were not made from a source are expected at one half if nothing was memorised."
        * untransferred
    )
    headings = ["images", "a side", "of training", "of held-out", "nearer to training"]
    return f"{about}\n\n{markdown_table(headings, lines)}"


def _planted(rows: Sequence[CopyingRow]) -> str:
    planted = [row for row in rows if row["planted"]]
    if not planted:
        return ""
    kinds = list(planted[0]["planted"])
    lines = [
        [_name(row), *(f"{100 * row['planted'][kind]['share']:.0f}%" for kind in kinds)] for row in planted
    ]
    about = "How many copies the search finds: copies of training images, planted on purpose, same threshold."
    return f"{about}\n\n{markdown_table(['images', *kinds], lines)}"


def _closest(rows: Sequence[CopyingRow]) -> str:
    pairs = [(row, pair) for row in rows for pair in row["closest_pairs"]]
    pairs.sort(key=lambda one: -one[1]["similarity"])
    lines = [
        [
            f"{_name(row)}, row {pair['row']}",
            f"{pair['similarity']:.3f}",
            str(pair["group"]),
            "yes" if pair["near_copy"] else "no",
        ]
        for row, pair in pairs[:LISTED]
    ]
    if not lines:
        return ""
    about = (
        "The closest pairs. Groups of training images are numbered here; their ids are in "
        "`closest_pairs.csv` in the stage's folder. Do not share that file."
    )
    return f"{about}\n\n{markdown_table(['synthetic image', 'similarity', 'group', 'near copy'], lines)}"


def _warnings(rows: Sequence[CopyingRow]) -> str:
    poor = [
        f"{_name(row)} ({kind}: {100 * found['share']:.0f}%)"
        for row in rows
        for kind, found in row["planted"].items()
        if found["share"] < 0.95
    ]
    if not poor:
        return ""
    return prose(
        f"Under 95% of planted copies are found in {', '.join(poor)}: few near copies prove little there."
    )


def _name(row: CopyingRow) -> str:
    return f"{row['images']}, seed {row['seed']}"


def _share(value: Share) -> str:
    low, high = (f"{100 * end:.1f}" for end in (value["low"], value["high"]))
    return f"{100 * value['share']:.1f}% [{low}, {high}]"
