"""Run the default study on phantom seeds that nobody chose: they are read off the hash of a commit.

    python scripts/confirm_default_run.py $(git rev-parse HEAD) --output_dir runs/confirm

Each run is made once, in a process of its own, and a call after a crash goes on. ``--further true`` takes ten
more seeds, off the SHA-256 of the hash. The table has what the aim is about: the lower end of `real` above
chance, and the intervals that decide `real+syn` against `real` and against `real+duplicates`.
"""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

from jsonargparse import auto_cli

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "fitz_lora.py"
METRIC = "balanced_accuracy"


def seeds_of(commit: str, further: bool = False) -> list[int]:
    """Return ten phantom seeds: four hexadecimal digits each of the hash, or of its SHA-256."""
    digits = hashlib.sha256(commit.encode()).hexdigest() if further else commit
    return [int(digits[4 * place : 4 * place + 4], 16) for place in range(10)]


def row_of(report: dict, seed: int, minutes: float) -> dict:
    """Return what the aim is about, in percent."""
    summary = {(row["arm"], row["reference"]): row for row in report["summary"] if row["metric"] == METRIC}
    real = next(row for (arm, _), row in summary.items() if arm == "real")
    row = {"seed": seed, "minutes": round(minutes, 1), "chance": real["chance"]}
    row["real"] = [real[name] for name in ("mean", "ci_low", "ci_high")]
    for arm, reference in (("real+syn", "real"), ("real+syn", "real+duplicates"), ("real+colour", "real")):
        found = summary[arm, reference]
        level = "_corrected" if found["role"] == "exploratory" else ""
        ends = [found[f"delta_ci_{end}{level}"] for end in ("low", "high")]
        row[f"{arm} - {reference}"] = [found["delta"], *ends]
    verdicts = {(one["arm"], one["reference"]): one["verdict"] for one in report["verdicts"]}
    row["verdicts"] = [verdicts["real+syn", "real"], verdicts["real+syn", "real+duplicates"]]
    return row


def main(commit: str, output_dir: str = "runs/confirm", further: bool = False) -> None:
    """Run every seed that has no result yet and print the table.

    Args:
        commit: whose hash gives the seeds; check it out first.
        output_dir: where the runs and the results lie.
        further: take the ten further seeds.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds_of(commit, further):
        result, run = folder / f"{seed}.json", folder / f"run-{seed}"
        if not result.is_file():
            began = time.perf_counter()
            state = ["--resume", "true"] if run.is_dir() else []
            given = ["--output_dir", str(run), "--corpus.phantom.seed", str(seed), *state]
            subprocess.run([sys.executable, str(RECIPE), *given], check=True)
            report = json.loads((run / "report.json").read_text(encoding="utf-8"))
            row = row_of(report, seed, (time.perf_counter() - began) / 60)
            result.write_text(json.dumps(row) + "\n", encoding="utf-8")
        print(result.read_text(encoding="utf-8").strip(), flush=True)


if __name__ == "__main__":
    auto_cli(main)
