import csv
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter

import skindiff
from skindiff.corpora import audit, near_duplicates, seen
from skindiff.corpora.audit import AuditConfig, AuditRow, audit_images, write_audit
from skindiff.corpora.near_duplicates import Match, NearDuplicateConfig
from skindiff.errors import ConfigError, CorpusError
from skindiff.seeding import numpy_generator


def photograph(seed: int, size: tuple[int, int] = (260, 200)) -> Image.Image:
    """A colour image with structure at several scales."""
    random = numpy_generator("photograph", seed)
    layers = [gaussian_filter(random.standard_normal(size[::-1]), sigma) * sigma for sigma in (1.5, 4, 12)]
    shade = 0.5 + 0.18 * sum(layers)
    colour = np.stack([shade * 220, shade * 170, shade * 140], axis=-1)
    return Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen unrelated images that share a watermark, planted copies of two, and what cannot be used."""
    folder = tmp_path_factory.mktemp("corpus")
    logo = photograph(99, (60, 24))
    for number in range(16):
        image = photograph(number)
        image.paste(logo, (10, 170))
        image.save(folder / f"image-{number:02}.png")
    base = Image.open(folder / "image-03.png")
    (folder / "copy-exact.png").write_bytes((folder / "image-03.png").read_bytes())
    base.crop((60, 30, 200, 150)).resize((280, 240), Image.Resampling.LANCZOS).save(folder / "copy-zoom.jpg")
    base.save(folder / "copy-recompressed.jpg", quality=25)
    base.rotate(90, expand=True).save(folder / "copy-turned.jpg")
    ImageOps.mirror(base).save(folder / "copy-flipped.jpg")
    Image.eval(Image.open(folder / "image-08.png"), lambda value: value * 0.5 + 10).save(
        folder / "darker.png"
    )
    (folder / "broken.jpg").write_bytes((folder / "copy-recompressed.jpg").read_bytes()[:900])
    (folder / "text.jpg").write_text("not an image")
    photograph(50, (20, 200)).save(folder / "tiny.png")
    Image.new("RGB", (90, 90), (200, 150, 130)).save(folder / "flat.png")
    return folder


def duplicates_in(rows: Iterable[AuditRow]) -> set[str]:
    return {row.image_id for row in rows if row.status == "duplicate"}


def paths_of(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[str, AuditRow]:
    pytest.importorskip("cv2")
    found = audit_images(paths_of(folder), AuditConfig(), None)
    assert [row.image_id for row in found] == list(paths_of(folder))
    return {row.image_id: row for row in found}


COPIES = {"copy-exact", "copy-flipped", "copy-recompressed", "copy-turned", "copy-zoom", "image-03"}


def test_planted_copies_are_grouped_and_nothing_else(rows: dict[str, AuditRow]) -> None:
    groups = {name: row.group_id for name, row in rows.items()}
    assert {name for name, group in groups.items() if group == "copy-exact"} == COPIES
    assert {name for name, group in groups.items() if group == "darker"} == {"darker", "image-08"}
    duplicates = COPIES | {"darker", "image-08"}
    assert duplicates_in(rows.values()) == duplicates
    for name in groups.keys() - duplicates:
        assert groups[name] == name
    assert Counter(row.status for row in rows.values())["ok"] == 14


def test_reasons_name_the_other_image_and_the_evidence(rows: dict[str, AuditRow]) -> None:
    assert rows["copy-exact"].reason == "exact copy of image-03"
    assert rows["image-03"].reason == "exact copy of copy-exact"
    assert rows["darker"].reason.startswith("near-duplicate of image-08 (")
    assert rows["copy-flipped"].reason.startswith("mirrored near-duplicate of ")
    assert "inliers, agreement" in rows["copy-zoom"].reason
    assert rows["image-00"].reason == ""


def test_unfit_images_are_told_apart(rows: dict[str, AuditRow], folder: Path) -> None:
    statuses = {name: rows[name].status for name in ("broken", "text", "tiny", "flat")}
    assert statuses == {"broken": "undecodable", "text": "undecodable", "tiny": "tiny", "flat": "constant"}
    assert rows["tiny"].reason == "20 x 200 pixels, less than 32"
    assert "text.jpg" in rows["text"].reason
    assert str(folder) not in rows["text"].reason


def test_the_result_depends_neither_on_threads_nor_on_order(rows: dict[str, AuditRow], folder: Path) -> None:
    backwards = dict(reversed(paths_of(folder).items()))
    config = AuditConfig(near_duplicates=NearDuplicateConfig(workers=1))
    again = audit_images(backwards, config, None)
    assert {row.image_id: row for row in again} == rows


def test_a_second_call_neither_decodes_nor_searches(
    folder: Path, rows: dict[str, AuditRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = paths_of(folder)
    assert audit_images(paths, AuditConfig(), tmp_path) == list(rows.values())
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an image was decoded")

    with monkeypatch.context() as patch:
        patch.setattr(audit, "_screen", refuse)
        assert audit_images(paths, AuditConfig(), tmp_path) == list(rows.values())
        # Thresholds are applied to what was found, and names are not part of it.
        strict = AuditConfig(near_duplicates=NearDuplicateConfig(min_inliers=10_000, workers=2))
        renamed = audit_images({f"x-{name}": path for name, path in paths.items()}, strict, tmp_path)
        assert {row.image_id for row in renamed if row.status == "duplicate"} == {
            "x-copy-exact",
            "x-image-03",
        }
        with pytest.raises(AssertionError, match="decoded"):
            audit_images(paths, AuditConfig(min_side=40), tmp_path)
    fewer = {name: path for name, path in paths.items() if name != "image-08"}
    assert {row.image_id: row.status for row in audit_images(fewer, AuditConfig(), tmp_path)}[
        "darker"
    ] == "ok"


def test_an_audit_that_was_killed_goes_on_from_what_it_has(
    folder: Path, rows: dict[str, AuditRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, look, looked = paths_of(folder), audit._screen, list[Path]()
    monkeypatch.setattr(seen, "SHARD", 5)
    one_by_one = AuditConfig(near_duplicates=NearDuplicateConfig(workers=1))

    def killed(path: Path, config: AuditConfig) -> seen.Look:
        if len(looked) == 12:
            raise KeyboardInterrupt
        looked.append(path)
        return look(path, config)

    with monkeypatch.context() as patch:
        patch.setattr(audit, "_screen", killed)
        with pytest.raises(KeyboardInterrupt):
            audit_images(paths, one_by_one, tmp_path)
    assert len(list(tmp_path.glob("*.unfinished/seen-*.json"))) == 2
    looked.clear()

    def watched(path: Path, config: AuditConfig) -> seen.Look:
        looked.append(path)
        return look(path, config)

    def stopped(task: near_duplicates._Task, **known: object) -> list[Match]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(audit, "_screen", watched)
        patch.setattr(near_duplicates, "_compare", stopped)
        with pytest.raises(KeyboardInterrupt):
            audit_images(paths, one_by_one, tmp_path)
    assert len(looked) == len(set(looked)) == len(paths) - 1 - 10  # one is an exact copy
    assert audit_images(paths, one_by_one, tmp_path) == list(rows.values())
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_names_that_begin_or_end_with_spaces_keep_them(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    for name, image in ((" lead", "image-00.png"), ("trail ", "image-01.png")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / image).write_bytes((folder / image).read_bytes())
    corpus = skindiff.load_corpus(tmp_path / "photos", image_size=16)
    assert corpus.class_names == [" lead", "trail "]
    assert list(corpus.audit()["image_id"]) == [" lead/image-00.png", "trail /image-01.png"]
    assert corpus.dataset["group_id"][:] == [" lead/image-00.png", "trail /image-01.png"]


def test_without_opencv_only_exact_copies_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"find_near_duplicates: true needs OpenCV.*skindiff\[audit\]"):
        audit_images(paths_of(folder), AuditConfig(), None)
    rows = audit_images(paths_of(folder), AuditConfig(find_near_duplicates=False), None)
    assert duplicates_in(rows) == {"copy-exact", "image-03"}
    assert {row.image_id for row in rows if row.status == "undecodable"} == {"broken", "text"}


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"image lost: .*lost\.jpg cannot be opened"):
        audit_images({"lost": tmp_path / "lost.jpg"}, AuditConfig(), None)


def test_a_corpus_of_one_image_or_none(folder: Path) -> None:
    pytest.importorskip("cv2")
    assert audit_images({}, AuditConfig(), None) == []
    assert audit_images({"a": folder / "image-00.png"}, AuditConfig(), None) == [AuditRow("a", "ok", "a", "")]


@pytest.mark.parametrize(("field", "value"), [("min_side", 0), ("min_contrast", -1.0)])
def test_settings_that_cannot_work_are_named(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"audit\.{field} is {value}: give"):
        AuditConfig(**{field: value}).validate("audit.")


def test_a_long_chain_of_weak_matches_does_not_make_a_group() -> None:
    names = [f"{number:02}" for number in range(20)]
    weak = [Match(a, b, False, 25, 0.7) for a, b in pairwise(names)]
    assert len(set(audit._groups(names[:12], weak[:11]).values())) == 1
    pair = Match("03", "04", False, 200, 0.99)
    groups = audit._groups(names, [*weak, pair])
    assert sorted(Counter(groups.values()).values()) == [1] * 18 + [2]
    assert groups["03"] == groups["04"]


def test_the_table_survives_a_round_trip(tmp_path: Path) -> None:
    rows = [
        AuditRow("a", "duplicate", "a", 'near-duplicate of b, "zoomed" (32 inliers, agreement 0.91)'),
        AuditRow("ü", "ok", "ü", "").flagged({"blurred": "blur 0.5", "ruler": "8 marks"}),
        AuditRow(" lead/a b.jpg ", "ok", " lead/a b.jpg ", ""),
    ]
    path = tmp_path / "new" / "audit.csv"
    write_audit(rows, path)
    with path.open(newline="", encoding="utf-8") as file:
        assert [AuditRow(**row) for row in csv.DictReader(file)] == rows
    assert path.read_text(encoding="utf-8").startswith("image_id,status,group_id,reason,flags,remarks\n")
    assert [file.name for file in path.parent.iterdir()] == ["audit.csv"]


def verified_pairs(real_data: Path) -> list[tuple[str, str]]:
    with (real_data / "fitzpatrick17k" / "verified_duplicate_pairs.csv").open() as file:
        return [(row["md5hash_a"], row["md5hash_b"]) for row in csv.DictReader(file)]


def test_verified_pairs_among_other_photographs(real_data: Path) -> None:
    pytest.importorskip("cv2")
    pairs = verified_pairs(real_data)
    images = real_data / "fitzpatrick17k" / "images"
    names = {name for pair in pairs for name in pair}
    others = [path.stem for path in sorted(images.iterdir())][::70]
    rows = audit_images(
        {name: images / f"{name}.jpg" for name in sorted(names | set(others))}, AuditConfig(), None
    )
    group = {row.image_id: row.group_id for row in rows}
    assert all(group[first] == group[second] for first, second in pairs)
    # Three of the pairs are one lesion at three zooms; every 70th file belongs to no pair.
    assert max(Counter(group.values()).values()) == 6
    assert duplicates_in(rows) == names


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_of_fitzpatrick17k(real_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    paths = {path.stem: path for path in (real_data / "fitzpatrick17k" / "images").iterdir()}
    rows = audit_images(paths, AuditConfig(), tmp_path)
    group = {row.image_id: row.group_id for row in rows}
    pairs = verified_pairs(real_data)
    assert sum(group[first] == group[second] for first, second in pairs) >= 0.95 * len(pairs)
    assert max(Counter(group.values()).values()) <= audit.LARGE_GROUP
    start = time.monotonic()
    assert audit_images(paths, AuditConfig(), tmp_path) == rows
    assert time.monotonic() - start < 30
    assert len(json.loads(next(tmp_path.iterdir()).read_text())["matches"]) > 700
