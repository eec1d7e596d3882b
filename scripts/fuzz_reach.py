"""Shows what the fuzzer of ``tests/fuzz`` reaches: puts known faults back, and sees which a minute finds.

A fault is a patch that takes one check away. The fuzzer then gets the share of a minute that it has in CI for
the kinds of input that can reach the fault, from three fixed seeds, in processes that end with the budget; a
fault counts as found by a seed where there is any finding. Without a patch nothing may be found.

    python scripts/fuzz_reach.py                    # all faults: about ten minutes
    python scripts/fuzz_reach.py --fault "NaN weights" --seeds 1
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from skindiff.errors import SkindiffError
from tests.fuzz.engine import Attempt, Kind, fuzz, share
from tests.fuzz.kinds import KINDS

SEEDS = (1, 2, 3)
BUDGET = 60.0
"""Seconds of all kinds together, as in CI."""
Ready = tuple[Kind, Attempt]
_GRACE = 25.0
"""Seconds after the budget until a process that does not end counts as a hang."""


@dataclass(frozen=True)
class Fault:
    """A check that is taken away.

    Attributes:
        name: what goes wrong without it.
        kinds: of input that can reach it.
        patch: takes it away, in this process.
    """

    name: str
    kinds: tuple[str, ...]
    patch: Callable[[], None]


def swap(modules: str, **new: Any) -> Callable[[], None]:
    """Return a patch that gives names in modules of skindiff (or in a class, ``module:Class``) new values."""

    def patch() -> None:
        for place in modules.split():
            module, _, inner = place.partition(":")
            owner = import_module(f"skindiff.{module}")
            owner = getattr(owner, inner) if inner else owner
            for name, value in new.items():
                getattr(owner, name)  # a check that is no longer there cannot be taken away
                setattr(owner, name, value)

    return patch


def together(*patches: Callable[[], None]) -> Callable[[], None]:
    """Return a patch that applies several."""
    return lambda: [patch() for patch in patches] and None


def nothing(*args: Any, **options: Any) -> None:
    """Check nothing."""


def _as_before() -> None:
    """Put the loader of pipelines back that knew four kinds of errors and checked nothing."""
    from skindiff.errors import GeneratorError
    from skindiff.generators.models import model_folder

    def load(kind: Any, model: str, revision: str | None, **options: Any) -> Any:
        try:
            folder = model_folder(model)
            return kind.from_pretrained(str(folder), use_safetensors=True, local_files_only=True, **options)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise GeneratorError(f"model {model!r} cannot be loaded") from error

    swap("generators.loading generators.text_to_image.loading", load_checked=load)()


def _without_quantisation() -> None:
    module = import_module("skindiff.generators.foreign_folder")
    check = module._refuse_strange

    def pass_over(settings: Any, words: bool) -> None:
        if isinstance(settings, dict):
            settings = {name: value for name, value in settings.items() if name != "quantization_config"}
        check(settings, words)

    module._refuse_strange = pass_over


def _plain_text(path: Path, most: int = 0) -> str:
    return Path(path).read_text(encoding="utf-8")


def _any_settings(file: str, setting: str = "config") -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except Exception:  # said by the parser, as it was
        return {}
    return content if isinstance(content, dict) else {}


def _counts_below_zero() -> None:
    from skindiff.corpora.phantom import PhantomConfig

    check = PhantomConfig.validate

    def validate(self: Any, path: str = "") -> None:
        counts = self.images_per_class
        self.images_per_class = {name: abs(count) for name, count in counts.items()}
        check(self, path)
        self.images_per_class = counts

    PhantomConfig.validate = validate  # type: ignore[method-assign]


def _unpickling() -> None:
    from skindiff.foreign_tables import Arrays, npy

    def read(self: Any, name: str) -> Any:
        with self._archive.open(f"{name}.npy") as stream:
            return npy.read_array(stream, allow_pickle=True)

    Arrays.__getitem__ = read  # type: ignore[method-assign]


def _columns_quoted() -> None:
    import csv

    from skindiff.errors import CorpusError

    def read(file: Path, setting: str, columns: Sequence[str]) -> list[dict[str, str]]:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, restval="")
            names = [name.strip() for name in reader.fieldnames or ()]
            for column in columns:
                if column not in names:
                    raise CorpusError(
                        f"{setting}: {file} has no column {column!r} (it has {', '.join(names)})"
                    )
            return [{name: row[name].strip() for name in names} for row in reader]

    swap("corpora.fitzpatrick17k", read_csv=read)()


def _plain_errors() -> None:
    SkindiffError.__init__ = Exception.__init__  # type: ignore[assignment, method-assign]


_READERS = "foreign generators.foreign_folder generators.models generators.adapter classification.networks"
_READERS += " report.read hub.origin manifest plugins synthesis.writer weights classification.cells"
_HUGE = 10**400
FAULTS = (
    Fault("errors of libraries pass, nothing is checked", ("models",), _as_before),
    Fault("a config asks for more weights than there are", ("models",), swap(
        "generators.foreign_folder", _build=nothing)),
    Fault("10^12 timesteps", ("models",), swap("generators.foreign_folder", _BOUNDS={}, _MOST=_HUGE)),
    Fault("quantization_config", ("models",), _without_quantisation),
    Fault("NaN weights", ("models", "adapters", "classifiers"), swap("weights", refuse_not_finite=nothing)),
    Fault("weights are missing", ("models",), together(
        swap("generators.foreign_folder", refuse_broken_parts=nothing, _build=nothing))),
    Fault("parts of a pipeline that do not fit", ("models",), swap(
        "generators.text_to_image.stable_diffusion:StableDiffusion", refuse_unfit=nothing)),
    Fault("nested JSON", ("models", "runs", "classifiers"), swap("foreign", parse_json=json.loads)),
    Fault("YAML that multiplies or holds itself", ("settings",), together(
        swap("foreign_yaml renamed", parse_yaml=yaml.safe_load), swap("config", _settings_of=_any_settings))),
    Fault("YAML of an adapter that is none", ("adapters",), swap(
        "generators.adapter", read_yaml=lambda path: yaml.safe_load(path.read_text()))),
    Fault("a report of another shape", ("runs",), swap("report.read", refuse_unlike=nothing)),
    Fault("a summary of another shape", ("runs",), swap("synthesis.writer", refuse_unlike=nothing)),
    Fault("a list of plugins of another shape", ("runs",), swap("plugins", refuse_unlike=nothing)),
    Fault("tokens of another shape", ("adapters",), swap("generators.adapter", refuse_unlike=nothing)),
    Fault("a classifier of another shape", ("classifiers",), swap(
        "classification.networks", refuse_unlike=nothing)),
    Fault("a classifier that is an id of the Hub", ("classifiers",), swap(
        "classification.networks", refuse_impossible=nothing, _refuse_strange=nothing)),
    Fault("a rank of 10^11 in a LoRA", ("adapters",), swap(
        "generators.adapter", _refuse_strange_lora=nothing)),
    Fault("config: /etc/passwd", ("settings",), swap("config", _settings_of=_any_settings)),
    Fault("NUL in a path", ("settings",), swap(
        "config", _refuse_strange_value=nothing, _LONGEST_WORD=_HUGE)),
    Fault("counts that cannot be meant", ("settings",), swap("config", _MOST=_HUGE, _MOST_OF={})),
    Fault("a count below zero", ("settings",), _counts_below_zero),
    Fault("a pipe or a device is read as text", ("settings", "tables", "models"), together(
        swap("foreign foreign_yaml generators.adapter", read_text=_plain_text),
        swap("corpora.table_corpus.dialects", read_bytes=lambda path, most: path.read_bytes()))),
    Fault("a table that is quoted", ("tables",), _columns_quoted),
    Fault("a pipe among the images is opened", ("pictures", "tables"), swap(
        "corpora.table corpora.audit", why_not_opened=nothing)),
    Fault("loops of links", ("tables", "hub", "runs"), swap(
        "corpora.imagefolder hub.timm_format hub.origin report.compare manifest demo.reports",
        real_path=lambda path: path.resolve())),
    Fault("bombs of Parquet and arrays", ("tables",), swap(
        "foreign_tables", _DENSEST=10**30, _FLOOR=10**30, _MOST_ROWS=10**30)),
    Fault("arrays are unpickled", ("tables",), _unpickling),
    Fault("errors of many lines or without end", ("demo", "hub", "models"), _plain_errors),
    Fault("errors of the Hub's network pass", ("hub",), swap(
        "generators.resolve generators.models", HUB_ERRORS=(OSError, ValueError))),
)  # fmt: skip


def found(fault: Fault | None, kind: Kind, attempt: Attempt, seed: int, budget: float) -> str | None:
    """Return what the fuzzer finds with a fault, None if nothing, in a process of its own."""
    seconds = share(kind, KINDS, budget)

    def work() -> None:
        torch.set_num_threads(1)
        if fault:
            fault.patch()
        outcome = fuzz(kind, attempt, seed, seconds, stop=True)
        ours.send((outcome.tried, next(iter(outcome.findings.values()), None)))

    theirs, ours = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    ended = theirs.poll(seconds + _GRACE)
    result = None
    try:
        result = theirs.recv()[1] if ended else "it hangs"
    except EOFError:
        result = "the process died"
    process.kill()
    process.join()
    return result


def by_seed(
    fault: Fault, ready: Mapping[str, Ready], seeds: Sequence[int], budget: float
) -> list[str | None]:
    """Return what each seed finds, in the kinds of input that can reach a fault, one after another."""
    return [
        next((one for name in fault.kinds if (one := found(fault, *ready[name], seed, budget))), None)
        for seed in seeds
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all faults; the status says whether nine in ten are found and nothing without them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fault", help="only this one")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--seconds", type=float, default=BUDGET, help="budget of all kinds together")
    options = parser.parse_args(arguments)
    budget, seeds = options.seconds, options.seeds
    torch.set_num_threads(1)
    wanted = [fault for fault in FAULTS if options.fault in (None, fault.name)]
    used = {kind for fault in wanted for kind in fault.kinds}
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        ready = {
            kind.name: (kind, kind.prepare(Path(place, kind.name))) for kind in KINDS if kind.name in used
        }
        clean = [one for name in ready if (one := found(None, *ready[name], SEEDS[0], budget))]
        print(f"without a fault: {len(clean)} findings in {len(ready)} kinds")
        for fault in wanted:
            said = by_seed(fault, ready, seeds, budget)
            missed += [f"{fault.name}, seed {seed}" for seed, one in zip(seeds, said, strict=True) if not one]
            hits = list(filter(None, said))
            print(
                f"{len(hits)} of {len(said)} seeds: {fault.name}: {(*hits, 'nothing')[0][:110]}", flush=True
            )
    total = len(wanted) * len(seeds)
    share_found = 1 - len(missed) / total
    print(f"found: {total - len(missed)} of {total} ({share_found:.0%}), {len(wanted)} faults")
    for name in missed:
        print(f"missed: {name}")
    return int(share_found < 0.9 or bool(clean))


if __name__ == "__main__":
    sys.exit(main())
