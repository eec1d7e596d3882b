"""Check the intervals of `summary` on simulated studies: coverage, power, and what repeated groups do.

    python scripts/calibrate_intervals.py                           # 2,000 studies a design, 15 to 20 minutes
    python scripts/calibrate_intervals.py --studies 200             # a look
    python scripts/calibrate_intervals.py --only clinical --output runs/calibration
    python scripts/calibrate_intervals.py --components runs/fitz3   # what a run's own variance is made of

Nothing is trained: predictions are drawn from the model of simulated_studies,
whose spreads are tuned to runs on real photographs and on phantom (compare --components with the designs').
With --output every design is kept as it is done, and a call with the same folder and numbers goes on there.
Figures in brackets are the Monte-Carlo interval of the share before them.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from coverage_counts import (
    METRICS,
    Calibration,
    calibrate,
    covered_elsewhere,
    naive_width,
    plant,
    wilson,
)
from simulated_studies import (
    CLINICAL,
    DESIGNS,
    LESIONS,
    PHANTOM,
    POWERED,
    REPEATING,
    Design,
    simulate,
)

from skindiff.classification.cells import load_cell
from skindiff.evaluation.statistics.paired_bootstrap import Resampling, Series

PLANTED, PRIMARY = 0.05, "balanced_accuracy"
SCORES_ELSEWHERE = ("balanced_accuracy", "auroc", "balanced_brier")
ELSEWHERE_DESIGNS = (
    "clinical, 3 splits",
    "clinical, 5 splits",
    "phantom, 5 splits",
    "lesions as in HAM10000",
    "seeds dominate, 3 splits",
    "one test set, 5 splits",
    "one split x 5 trainings",
)
"""Designs whose trainings are asked about a second corpus."""


def counted(
    design: Design, metrics: Sequence[str], truth: float, arguments: argparse.Namespace
) -> list[Calibration]:
    """Return the counts of a design, from the folder where they are kept."""
    wanted = {
        "design": asdict(design),
        "metrics": list(metrics),
        "studies": arguments.studies,
        "replicates": arguments.replicates,
        "truth": truth,
    }
    name = "".join(letter if letter.isalnum() else "-" for letter in design.name)
    kept = arguments.output / f"{name}.json" if arguments.output else None
    if kept and kept.exists():
        stored = json.loads(kept.read_text())
        if stored["wanted"] == json.loads(json.dumps(wanted)):
            return [Calibration(**row) for row in stored["found"]]
    found = calibrate(
        design, arguments.studies, replicates=arguments.replicates, metrics=metrics, truth=truth
    )
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({"wanted": wanted, "found": [row.as_dict() for row in found]}, indent=1))
    return found


def percent(share: float, studies: int) -> str:
    """Return a share with its Monte-Carlo interval."""
    low, high = wilson(share, studies)
    return f"{100 * share:5.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def print_coverage(arguments: argparse.Namespace) -> None:
    """Print how often intervals hold a true difference of zero."""
    print("Two arms of equal distribution: the 95% interval holds 0 in percent of the studies")
    print(f"{'design':40} {'score':18} {'covered':20} {'mean covered':20} width  any arm, corrected")
    for design in chosen(DESIGNS, arguments):
        started = time.process_time()
        for row in counted(design, METRICS, 0.0, arguments):
            covered, means = (percent(share, row.studies) for share in (row.covered, row.mean_covered))
            family = percent(row.any_found, row.studies) if design.arms > 2 else ""
            print(f"{row.design:40} {row.metric:18} {covered:20} {means:20} {100 * row.width:5.1f}  {family}")
        print(f"{'':40} {time.process_time() - started:.0f} s of CPU", flush=True)


def print_power(arguments: argparse.Namespace) -> None:
    """Print how often a planted effect is found, beside the power that the reports state."""
    print(
        f"\nA planted {100 * PLANTED:+.0f} points of {PRIMARY}: found in percent of the studies, and stated"
    )
    print(f"{'design':40} {'found':20} stated: median  mean   covered              minimum effect, points")
    for design in chosen(POWERED, arguments):
        (row,) = counted(plant(design, PRIMARY, PLANTED), [PRIMARY], PLANTED, arguments)
        found, covered = percent(row.helps, row.studies), percent(row.covered, row.studies)
        stated = f"{100 * row.stated_power:14.1f} {100 * row.mean_stated_power:6.1f}"
        print(
            f"{design.name:40} {found:20} {stated}   {covered:20} {100 * row.minimum_effect:.1f}", flush=True
        )


def print_minimum_effect(arguments: argparse.Namespace) -> None:
    """Print how often the stated minimum effect is found; it should be 80%.

    An effect widens the spread of what has it, and a study states what follows from its own spread. So the
    effect that studies without any state is planted first, and then the one that these studies state.
    """
    print("\nAn effect as large as the median of the stated minimum effects: found in percent (80 is meant)")
    for design in chosen((CLINICAL, PHANTOM), arguments):
        (row,) = (row for row in counted(design, METRICS, 0.0, arguments) if row.metric == PRIMARY)
        for stated_by in ("studies without an effect", "studies with that one"):
            effect = row.minimum_effect
            (row,) = counted(plant(design, PRIMARY, effect), [PRIMARY], effect, arguments)
            found = percent(row.helps, row.studies)
            print(f"{design.name:40} {100 * effect:5.1f} points, as {stated_by} state: {found}", flush=True)


def print_naive(arguments: argparse.Namespace) -> None:
    """Print how much wider intervals are by group than by image."""
    print(
        "\nWhere groups repeat: width by group over width by image, and how often either holds 0 in percent"
    )
    for design in chosen(REPEATING, arguments):
        studies = max(arguments.studies // 4, 10)
        ratio, *held = naive_width(design, PRIMARY, studies)
        by_group, by_image = (percent(share, studies) for share in held)
        print(f"{design.name:40} {ratio:5.2f}  {by_group:20} {by_image:20}", flush=True)


def print_elsewhere(arguments: argparse.Namespace) -> None:
    """Print how often the interval of the difference to another corpus holds zero, where nothing differs."""
    print("\nThe same trainings on two corpora of one distribution: the 95% interval holds 0 in percent")
    designs = [design for design in DESIGNS if design.name in ELSEWHERE_DESIGNS]
    for design in chosen(designs, arguments):
        found = covered_elsewhere(
            design, arguments.studies, SCORES_ELSEWHERE, replicates=arguments.replicates
        )
        for metric, (share, width) in found.items():
            covered = percent(share, arguments.studies)
            print(f"{design.name:40} {metric:18} {covered:20} {100 * width:5.1f}", flush=True)


def print_components(folder: Path) -> None:
    """Print the parts of a run's variance, and those of the designs beside them."""
    cells = [load_cell(path) for path in sorted(folder.glob("stages/cell-*/*.npz"))]
    print(f"{'points':40} {'score':18} {'mean':>6} {'spread':>7} {'images, own':>12} {'images, shared':>15}")
    for population in {cell.key.population for cell in cells}:
        own = [cell for cell in cells if cell.key.population == population]
        for key in dict.fromkeys(cell.key.series for cell in own if cell.key.arm != "real"):
            arms = [cell for cell in own if cell.key.series == key or cell.key.arm == "real"]
            components(
                f"{key.arm} {key.strategy or ''} {population[0]} {population[1]}", [arms], str(key.arm)
            )
    for design in (CLINICAL, PHANTOM, LESIONS):
        components(design.name, [simulate(design, "components", study) for study in range(40)], "arm-1")


def components(name: str, studies: Sequence, arm: str) -> None:
    """Print the mean parts of the difference of an arm to `real` over studies, as standard deviations."""
    found: dict[str, list[list[float]]] = {metric: [] for metric in METRICS}
    for number, cells in enumerate(studies):
        drawn = Resampling(cells, 500, "components", number)
        real, other = (
            Series([cell for cell in cells if cell.key.arm == wanted], drawn, METRICS)
            for wanted in ("real", arm)
        )
        for metric in METRICS:
            one, level = other.difference(real, metric), real.mean(metric)
            if one and level and one.units > 1:
                spread = [one.seed_variance * one.units, one.seed_floor * one.units, one.image_variance]
                found[metric].append([level.value, *spread])
    for metric, rows in found.items():
        if rows:
            level, *parts = np.mean(rows, axis=0)
            spread, own, shared = 100 * np.sqrt(parts)
            print(f"{name:40} {metric:18} {100 * level:6.1f} {spread:7.1f} {own:12.1f} {shared:15.1f}")


def chosen(designs: Sequence[Design], arguments: argparse.Namespace) -> list[Design]:
    """Return the designs that were asked for."""
    return [design for design in designs if any(part in design.name for part in arguments.only)]


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2000, help="simulated for each design")
    parser.add_argument("--replicates", type=int, default=200, help="of each study's bootstrap")
    parser.add_argument("--only", nargs="+", default=[""], help="designs whose name holds one of these")
    parser.add_argument("--output", type=Path, help="folder that keeps what is done")
    parser.add_argument("--components", type=Path, help="run folder: print its components instead")
    arguments = parser.parse_args()
    if arguments.components:
        print_components(arguments.components)
        return
    started = time.process_time()
    print_coverage(arguments)
    print_power(arguments)
    print_minimum_effect(arguments)
    print_naive(arguments)
    print_elsewhere(arguments)
    print(f"\n{(time.process_time() - started) / 60:.1f} minutes of CPU")


if __name__ == "__main__":
    main()
