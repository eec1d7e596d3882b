"""Compare a run with the same run of an earlier version: scores, intervals, synthetic images, weights.

    python scripts/compare_runs.py runs/old runs/new

Names of before are read as today's, through the tables of skindiff.renamed. Ends with status 1 if a score, an
interval, a verdict or an image differs; times, the machine, texts and logs are left out.
"""

import argparse
import hashlib
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from skindiff.report.read import read_report

LEFT_OUT = ("config", "environment", "timings", "notes", "reading", "title", "schema_version")
MUST_HOLD = ("results", "summary", "verdicts", "splits", "detection", "fidelity", "copying", "images")


def images(folder: Path) -> list[str]:
    """Return a digest of every synthetic image of a run, in no order."""
    found = []
    for shard in sorted(folder.glob("stages/**/*.parquet")):
        if "image" in pq.read_schema(shard).names:
            for row in pq.read_table(shard, columns=["image"])["image"]:
                found.append(hashlib.sha256(row["bytes"].as_py()).hexdigest())
    return sorted(found)


def weights(folder: Path) -> list[str]:
    """Return a digest of every file of weights of a run, in no order, without those kept for going on."""
    files = [path for path in folder.glob("stages/**/*.safetensors") if "checkpoints" not in path.parts]
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every plain value with the way to it."""
    if isinstance(value, (dict, list)):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in pairs:
            yield from leaves(part, f"{prefix}.{key}")
    else:
        yield prefix, value


def compare(old: Any, new: Any) -> str:
    """Return what differs, in a few words; an empty text if nothing does."""
    if old == new:
        return ""
    if isinstance(old, list) and all(isinstance(part, str) for part in [*old, *new]):
        return f"{sum((Counter(old) - Counter(new)).values())} of {len(old)} are not in the new run"
    before, after = dict(leaves(old)), dict(leaves(new))
    changed = [name for name in before if name in after and before[name] != after[name]]
    text = f"{len(changed)} of {len(before)} values changed"
    for what, names in (("gone", before.keys() - after.keys()), ("new", after.keys() - before.keys())):
        fields = sorted({name.rpartition(".")[2] for name in names})
        text += f", {len(names)} {what} ({', '.join(fields[:6])})" if names else ""
    shown = [f"{name} {before[name]!r} -> {after[name]!r}" for name in changed[:3]]
    return "; ".join([text, *shown])


def main() -> int:
    """Print a line for each part, and return 1 if one differs that must not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    arguments = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old, new = ({**read_report(folder)} for folder in (arguments.old, arguments.new))
    for content, folder in ((old, arguments.old), (new, arguments.new)):
        content["images"], content["weights"] = images(folder), weights(folder)
    failed = False
    for name in dict.fromkeys([*old, *new]):
        if name not in LEFT_OUT:
            found = compare(old.get(name), new.get(name))
            size = len(value) if isinstance(value := old.get(name), list | dict | str) else value
            print(f"{name}: {found or f'equal ({size})'}")
            failed |= bool(found) and name in MUST_HOLD
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
