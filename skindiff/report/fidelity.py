"""The section on fidelity: scores of every generator and seed, and of each class or other group."""

from collections.abc import Mapping, Sequence

from skindiff.escaping import prose
from skindiff.measures.fidelity.rows import FidelityRow
from skindiff.report.study_section import StudySection, markdown_table

_SCORES = ("fid", "kid", "precision", "recall", "density", "coverage")
_DIGITS = {"fid": 1, "kid": 4}


def fidelity_section(rows: Sequence[FidelityRow]) -> StudySection:
    """Return the tables of fidelity scores.

    Args:
        rows: what :func:`~skindiff.measures.fidelity.by_class.class_fidelity` returned, for every generator
            and seed.
    """
    if not rows:
        return StudySection("Fidelity")
    about = (
        f"Features: {rows[0]['features']}. Compared with equally many real images of each class that the "
        "generator never saw. The row of real training images is what a perfect copy would score. "
        "95% intervals come from a bootstrap over images."
    )
    whole = [
        [_name(row), str(row["generated"]), *(score_text(row["scores"], name) for name in _SCORES)]
        for row in rows
    ]
    parts = [markdown_table(["images", "a side", *_SCORES], whole), about]
    for by in dict.fromkeys(group["by"] for row in rows for group in row["groups"]):
        lines = [
            [
                f"{_name(row)}, {group['name']}",
                f"{group['real']} / {group['generated']}",
                *(score_text(group["scores"], name) for name in _SCORES),
            ]
            for row in rows
            for group in row["groups"]
            if group["by"] == by
        ]
        table = markdown_table(["images", "real / synthetic", *_SCORES], lines)
        parts += [prose(f"By {by.replace('_', ' ')}:"), table]
    parts.append(" ".join(dict.fromkeys(prose(f"{row['warning']}.") for row in rows if row["warning"])))
    return StudySection("Fidelity", "\n\n".join(part for part in parts if part))


def _name(row: FidelityRow) -> str:
    return f"{row['images']}, seed {row['seed']}"


def score_text(scores: Mapping[str, float], name: str) -> str:
    """Return a score with its interval, where it has one."""
    digits = _DIGITS.get(name, 2)
    low, high = scores.get(f"{name}_low"), scores.get(f"{name}_high")
    interval = f" [{low:.{digits}f}, {high:.{digits}f}]" if low is not None and high is not None else ""
    return f"{scores[name]:.{digits}f}{interval}"
