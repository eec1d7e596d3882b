"""Pushing synthetic data sets as Parquet shards, with their provenance and without local file names."""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Image, Value

from skindiff.corpora.attribute import MOST_VALUES, SKIN_COLUMN
from skindiff.corpora.registry import CORPORA
from skindiff.corpora.schema import REAL_COLUMNS, SKIN_TYPES, SYNTHETIC_COLUMNS
from skindiff.errors import HubError
from skindiff.escaping import code, markdown, prose
from skindiff.generators.families import FAMILIES
from skindiff.hub.cards import Card, coverage_text, dataset_card, eval_results, table
from skindiff.hub.clean import clean_png, model_name
from skindiff.hub.client import Content, Pushed, push_files, refuse_bad_id
from skindiff.hub.gates import in_words
from skindiff.hub.leaving import files_of
from skindiff.hub.origin import Facts, Origin, find_facts, on_bases
from skindiff.hub.staging import staged
from skindiff.hub.usage import dataset_usage
from skindiff.measures.copying.memorisation import near_copies
from skindiff.measures.copying.near_copies import (
    REPORT_FILE,
    NearCopies,
    fingerprint,
    load_near_copies,
)
from skindiff.synthesis.asked import asked_column, value_of_rows
from skindiff.synthesis.class_plan import class_plan_features
from skindiff.synthesis.plan import FURTHER_COLUMNS, plan_features
from skindiff.synthesis.writer import load_synthetic

SHARD_BYTES = 200 * 2**20
"""Size at which a shard is closed."""
_READ_ROWS = 256
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def push_synthetic(
    folder: Path | str,
    repo_id: str,
    *,
    licence: str,
    sources: Dataset | None = None,
    held_out: Dataset | None = None,
    override: str | None = None,
    leave_out_copies: bool = False,
    origin: Origin | None = None,
    private: bool = True,
    token: str | None = None,
) -> Pushed:
    """Push a synthetic data set that ``datasets.load_dataset`` loads with all its columns.

    Ids of images, sources and groups are replaced by numbers (row ``n`` stays row ``n`` of the local set),
    but for corpora whose ids are no file names (phantom, MedMNIST). Images are written anew from pixels.

    Images that were made from others need a report on near copies. One that lies beside the shards, is
    about these images and has a threshold set on held-out images is taken as it is; otherwise ``sources``
    make a new one. Without ``sources`` any report about these images will do.

    Args:
        folder: of the shards, as :mod:`skindiff.synthesis.writer` wrote them.
        repo_id: ``owner/name`` of a data set repository.
        licence: of the images, as the Hub names it.
        sources: what the generator was trained on or transferred (``image``, ``image_id``, ``group_id``).
        held_out: real images of the same columns that it never saw, which set the threshold; without them it
            is the default one, as the report and the card then say.
        override: reason to publish near copies of sources; it goes into the card.
        leave_out_copies: push the other images only.
        origin: corpora, run, base model; what is left out is read from the run around ``folder``.
        private: whether only the owner may see it.
        token: of the Hub; the stored one when left out.

    Raises:
        HubError: a gate refuses it, or the Hub does not take it.
        SynthesisError: the folder holds no finished data set, or ``sources`` are not those it was made from.
    """
    refuse_bad_id(repo_id)
    folder = Path(folder)
    reason = in_words(override)
    facts = find_facts(origin, folder, licence)
    with staged(folder, files_of("synthetic")) as own, tempfile.TemporaryDirectory() as place:
        drawn = load_synthetic(own)
        _refuse_unknown_columns(drawn)
        facts = on_bases(facts, _bases(drawn, facts), "images")
        report = _near_copy_report(drawn, own, folder, sources, held_out)
        drawn, report = _past_the_gate(drawn, report, reason, leave_out_copies)
        public = (name.rpartition("/")[2] for name in facts.corpora if name.partition("/")[0] in CORPORA)
        aliases = Aliases(keep=_ids_may_leave(facts), corpora=frozenset(public))
        files = _files(drawn, aliases, report, Path(place))
        files["README.md"] = _readme(repo_id, drawn, facts, report, reason)
        return push_files(
            files,
            repo_id,
            repo_type="dataset",
            message="Push a synthetic data set with skindiff",
            private=private,
            token=token,
            owns=["data/*.parquet", REPORT_FILE],
        )


class Aliases:
    """Numbers in place of ids, in the order of their first appearance; nothing of an id is in its number."""

    def __init__(self, keep: bool, corpora: Set[str] = frozenset()) -> None:
        """Leave ids as they are where ``keep``, and the names of public corpora."""
        self.keep, self.corpora = keep, corpora
        self._numbers: dict[str, dict[str, str]] = {"image": {}, "source": {}, "group": {}}

    def of(self, kind: str, name: str | None) -> str | None:
        """Return what stands for an id of an ``image``, ``source`` or ``group``; null stays null."""
        if name is None or self.keep:
            return name
        known = self._numbers[kind]
        return known.setdefault(name, f"{kind}-{len(known):06d}")

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of a data set with its ids replaced, and its image bare.

        A corpus of one's own is called by its folder; it leaves without that name.
        """
        image_id = self.of("image", row["image_id"])
        stem = re.sub(r"[^\w.-]+", "-", str(image_id))
        own = not self.keep and row.get("corpus", "imagefolder") not in self.corpora
        return {
            **row,
            "image_id": image_id,
            "source_id": self.of("source", row["source_id"]),
            "group_id": self.of("group", row["group_id"]),
            "generator": model_name(row["generator"]),
            "image": {"bytes": clean_png(row["image"]["bytes"]), "path": f"{stem}.png"},
            **({"corpus": "imagefolder"} if own and "corpus" in row else {}),
        }


def _ids_may_leave(facts: Facts) -> bool:
    """Whether no corpus names its images by their files."""
    named = [corpus.partition("/")[0] for corpus in facts.corpora]
    return all(name in CORPORA and CORPORA[name].public_ids for name in named)


def _refuse_unknown_columns(drawn: Dataset) -> None:
    """See that every column is one that plans have, of which is known what it may say."""
    known = {
        *plan_features(["any"], further=FURTHER_COLUMNS),
        *class_plan_features(["any"]),
        *REAL_COLUMNS,
        *SYNTHETIC_COLUMNS,
    }
    asked = asked_column(drawn.column_names)
    of_words = drawn.features.get(asked) == drawn.features.get(f"source_{asked}") == Value("string")
    if of_words and len(set(drawn[asked][:])) <= MOST_VALUES:  # more would be names, and of no attribute
        known |= {asked, f"source_{asked}"}
    strange = [name for name in drawn.column_names if name not in known]
    if strange:
        raise HubError(f"folder: the column {strange[0]!r} is not a column of synthetic data sets; remove it")


def _past_the_gate(
    drawn: Dataset, report: NearCopies | None, reason: str | None, leave_out_copies: bool
) -> tuple[Dataset, NearCopies | None]:
    """Return what may leave, with its part of the report on near copies."""
    if report is None or not report.copies:
        return drawn, report
    if leave_out_copies:
        return _without_copies(drawn, report)
    if reason is None:
        raise HubError(_refusal(report))
    return drawn, report


def _files(drawn: Dataset, aliases: Aliases, report: NearCopies | None, folder: Path) -> dict[str, Content]:
    """Return the shards, written into ``folder``, and the report by their names on the Hub."""
    shards = _write_shards(drawn, aliases, folder)
    files: dict[str, Content] = {
        f"data/train-{number:05d}-of-{len(shards):05d}.parquet": path for number, path in enumerate(shards)
    }
    if report is not None:
        files[REPORT_FILE] = _shared_report(report, aliases)
    return files


def _near_copy_report(
    drawn: Dataset, own: Path, home: Path, sources: Dataset | None, held_out: Dataset | None
) -> NearCopies | None:
    """Return the report that images made from others need, None where none were; a new one goes home."""
    if all(source is None for source in drawn["source_id"][:]):
        return None
    saved = load_near_copies(own)
    speaks = saved is not None and saved.fingerprint == fingerprint(drawn)
    if saved is not None and speaks and (sources is None or saved.threshold_source == "held-out"):
        return saved
    if sources is not None:
        report = near_copies(drawn, sources, held_out)
        report.save(home)
        return report
    if saved is None:
        raise HubError(
            "near copies: these images were made from others, and no report says how near they are to "
            "them; give sources, the corpus that they were made from"
        )
    raise HubError(f"near copies: {REPORT_FILE} is about other images than these; give sources for a new one")


def _refusal(report: NearCopies) -> str:
    nearest = report.copies[0]
    whose = "its own group" if nearest.of_own_group else f"while its own is {nearest.own_group}"
    return (
        f"near copies: {len(report.copies)} of {len(report.rows)} images show a source (similarity "
        f"{report.threshold} or more, {report.basis}); the nearest, {nearest.image_id}, is at "
        f"{nearest.similarity:.3f} of source {nearest.nearest_source} of group {nearest.nearest_group}, "
        f"{whose}: push with leave_out_copies=True, generate with a higher strength, or give "
        "by override a reason to publish them"
    )


def _without_copies(drawn: Dataset, report: NearCopies) -> tuple[Dataset, NearCopies]:
    kept = [number for number, row in enumerate(report.rows) if row.similarity < report.threshold]
    if not kept:
        raise HubError(
            "leave_out_copies: every image is a near copy, so none is left; generate with a higher strength"
        )
    drawn, rows = drawn.select(kept), [report.rows[number] for number in kept]
    return drawn, replace(report, rows=rows, fingerprint=fingerprint(drawn))


def _write_shards(drawn: Dataset, aliases: Aliases, folder: Path) -> list[Path]:
    """Write shards of about :data:`SHARD_BYTES`; their bytes are a function of the rows alone."""
    schema = drawn.features.arrow_schema
    paths: list[Path] = []
    held: list[dict[str, Any]] = []
    size = 0

    def close() -> None:
        path = folder / f"{len(paths):05d}.parquet"
        columns = {name: [row[name] for row in held] for name in drawn.features}
        pq.write_table(pa.table(columns, schema=schema), path)
        paths.append(path)
        held.clear()

    for row in _encoded_rows(drawn):
        held.append(aliases.row(row))
        size += len(held[-1]["image"]["bytes"])
        if size >= SHARD_BYTES:
            close()
            size = 0
    if held:
        close()
    return paths


def _encoded_rows(drawn: Dataset) -> Iterator[dict[str, Any]]:
    encoded = drawn.cast_column("image", Image(decode=False))
    for start in range(0, len(encoded), _READ_ROWS):
        yield from encoded.select(range(start, min(start + _READ_ROWS, len(encoded)))).to_list()


def _shared_report(report: NearCopies, aliases: Aliases) -> bytes:
    rows = [
        {
            "image_id": aliases.of("image", row.image_id),
            "similarity": row.similarity,
            "own_similarity": row.own_similarity,
            "nearest_source": aliases.of("source", row.nearest_source),
            "nearest_group": aliases.of("group", row.nearest_group),
            "of_own_group": row.of_own_group,
        }
        for row in report.rows
    ]
    return (json.dumps({**report.summary(), "rows": rows}, indent=1) + "\n").encode()


def _bases(drawn: Dataset, facts: Facts) -> list[str]:
    """Return the base models that images are by; generators from scratch have learnt from corpora alone."""
    names = {model_name(name).partition("+")[0] for name in set(drawn["generator"][:])}
    found = sorted(name for name in names if name.partition("@")[0] not in FAMILIES)
    return [facts.base_model] if found and facts.base_model else found


def _readme(
    repo_id: str, drawn: Dataset, facts: Facts, report: NearCopies | None, reason: str | None
) -> bytes:
    return dataset_card(
        _card(repo_id, drawn, facts, report, reason),
        facts,
        tags=["synthetic"],
        task_categories=["image-classification"],
        size_categories=[_size_category(len(drawn))],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
    )


def _card(repo_id: str, drawn: Dataset, facts: Facts, report: NearCopies | None, reason: str | None) -> Card:
    label = drawn.features["label"]
    assert isinstance(label, ClassLabel)
    generators = sorted({model_name(name) for name in set(drawn["generator"][:])})
    redrawn = "made from real ones" if report is not None else "generated"
    classes, makers = (", ".join(names) for names in (map(markdown, label.names), map(_coded, generators)))
    return Card(
        title=repo_id.split("/")[1],
        what=f"{len(drawn)} synthetic images of {classes}, {redrawn} by {makers}. Every row says how it was "
        "made and from what.",
        usage=dataset_usage(repo_id),
        results=eval_results(facts.report),
        coverage=f"{_counts(drawn, label.names)}\n\n{coverage_text(facts)}",
        limits=[
            "The images are made up; what they show need not be possible, and none is evidence of anything.",
            _value_limit(drawn),
            "Train with them beside real images, and test on real images only.",
        ],
        base_model=facts.base_model or generators[0].partition("+")[0],
        sections=[_copies_section(report, reason)] if report is not None else (),
    )


def _coded(name: str) -> str:
    return f"`{code(name)}`"


def _value_limit(drawn: Dataset) -> str:
    """Return in a sentence how far the skin type, or another value, of a row can be relied on."""
    column, kind = asked_column(drawn.column_names), value_of_rows(drawn)
    name = column.replace("_", " ")
    if kind == "unknown":
        return f"The generator knows classes alone: the {name} of its images is not known."
    of = "the one that was asked for" if kind == "asked" else "that of the real image it reconstructs"
    how = "measure the skin tone of the image" if column == SKIN_COLUMN else "nothing measured it"
    return f"The {name} of a row is {of}; {how}."


def _counts(drawn: Dataset, names: list[str]) -> str:
    column, kind = asked_column(drawn.column_names), value_of_rows(drawn)
    counts = Counter(zip(drawn["label"][:], drawn[column][:], strict=True))
    seen = {kind for _, kind in counts}
    order = SKIN_TYPES if column == SKIN_COLUMN else sorted(kind for kind in seen if kind is not None)
    types = [kind for kind in (*order, None) if kind in seen]
    head = ("class", *(kind or "not recorded" for kind in types))
    rows = [(name, *(counts[code, kind] for kind in types)) for code, name in enumerate(names)]
    what = "Fitzpatrick skin type" if column == SKIN_COLUMN else markdown(column.replace("_", " "))
    of = {"asked": "that was asked for", "source": "of its real image", "unknown": "(not known)"}[kind]
    return f"Images by class and the {what} {of}:\n\n{table(head, rows)}"


def _copies_section(report: NearCopies, reason: str | None) -> tuple[str, str]:
    found = report.summary()
    nearest, between = found["nearest_similarity"], found["between_sources"]
    lines = [
        f"{found['near_copies']} of {found['images']} images are at {found['threshold']} or more of one of "
        f"{found['sources']} sources ({found['near_copies_of_own_group']} of them of their own source's "
        f"group; {found['groups_copied']} groups). That threshold is {report.basis}. The nearest source is "
        f"at {nearest['p50']} (median), {nearest['p95']} (95th percentile) and {nearest['p100']} (maximum); "
        f"real images come to {between['p50']}, {between['p95']} and {between['p100']} of a source of "
        f"another group. Measure: {found['measure']}. By row: `{REPORT_FILE}`."
    ]
    if reason and report.copies:
        lines += ["", f"Near copies are included because: {prose(reason)}"]
    return "Near copies of sources", "\n".join(lines)


def _size_category(rows: int) -> str:
    return next((name for most, name in _SIZES if rows < most), "1M<n<10M")
