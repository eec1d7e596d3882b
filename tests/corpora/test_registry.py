"""Any corpus by name: read, audited, cached, with its lists of what cannot be used."""

import csv
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skindiff.corpora import registry
from skindiff.corpora.fitzpatrick17k import Fitzpatrick17kConfig
from skindiff.corpora.imagefolder import IMAGEFOLDER, ImageFolderConfig
from skindiff.corpora.phantom import PhantomConfig
from skindiff.corpora.registry import CorpusConfig, find_corpus, patients_unknown, prepare_corpus
from skindiff.corpora.table import LoadedCorpus
from skindiff.errors import ConfigError, CorpusError
from tests.tiny import tiny_corpus

PHANTOM = CorpusConfig(image_size=32, phantom=PhantomConfig(3, 64, ["nodule"], {"I": 3, "V": 2}, 0.0))


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 40, 3)).astype(np.uint8))


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Five images of which two are the same and one is damaged, and two that the csv alone knows."""
    images = tmp_path / "corpus" / "images"
    images.mkdir(parents=True)
    for name, seed in (("a", 0), ("b", 1), ("c", 0), ("d", 2)):
        noise(seed).save(images / f"{name}.png")
    (images / "e.jpg").write_bytes(b"\xff\xd8 no more")
    lines = [f"{name},{number % 6 + 1},acne" for number, name in enumerate("abcdefg")]
    (tmp_path / "corpus" / "fitzpatrick17k.csv").write_text(
        "\n".join(["md5hash,fitzpatrick_scale,label", *lines, ""])
    )
    return tmp_path / "corpus"


def fitzpatrick(folder: Path, **settings: object) -> CorpusConfig:
    own = Fitzpatrick17kConfig(str(folder), conditions=["acne"], **settings)
    return CorpusConfig("fitzpatrick17k", 32, fitzpatrick17k=own)


def test_phantom_is_rendered_at_the_corpus_size_and_cached(tmp_path: Path) -> None:
    corpus = prepare_corpus(PHANTOM, tmp_path)
    assert corpus.counts() == {"images": 5, "groups": 5, "missing": 0, "quarantined": 0}
    assert corpus.class_names == ["nodule"]
    assert corpus.dataset[0]["image"].size == (32, 32)
    again = prepare_corpus(PHANTOM, tmp_path)
    assert again.fingerprint == corpus.fingerprint
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [corpus.fingerprint]
    other = replace(PHANTOM, phantom=replace(PHANTOM.phantom, seed=4))
    assert prepare_corpus(other, tmp_path).fingerprint != corpus.fingerprint


def test_duplicates_share_a_group_and_a_damaged_image_is_set_aside(photographs: Path, tmp_path: Path) -> None:
    corpus = prepare_corpus(fitzpatrick(photographs), tmp_path / "run")
    groups = dict(zip(corpus.dataset["image_id"], corpus.dataset["group_id"], strict=True))
    assert groups == {"a": "a", "b": "b", "c": "a", "d": "d"}
    assert corpus.counts() == {"images": 4, "groups": 3, "missing": 2, "quarantined": 1, "ungrouped": 4}
    assert (tmp_path / "run" / "missing.txt").read_text() == "f\ng\n"
    with (tmp_path / "run" / "quarantined.csv").open(newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert row["image_id"] == "e"
    assert row["reason"].startswith("undecodable")
    assert (tmp_path / "run" / "audit.csv").read_text().count("\n") == 6


def test_without_an_audit_the_cache_sets_the_damaged_image_aside(photographs: Path, tmp_path: Path) -> None:
    corpus = prepare_corpus(replace(fitzpatrick(photographs), audit=False), tmp_path / "run")
    assert corpus.counts() == {"images": 4, "groups": 4, "missing": 2, "quarantined": 1, "ungrouped": 4}
    assert corpus.quarantined[0][0] == "e"
    assert not (tmp_path / "run" / "audit.csv").exists()


def test_what_was_not_used_is_said_on_the_console(
    photographs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        corpus = prepare_corpus(replace(fitzpatrick(photographs), audit=False), tmp_path / "run")
    assert any("2 of 7 rows of fitzpatrick17k.csv have no image" in warning for warning in corpus.warnings)
    said = [record.message for record in caplog.records if record.name == "skindiff.corpora.registry"]
    assert said == [*corpus.warnings, *patients_unknown(corpus.counts())]
    assert said[-1].startswith("Patients unknown: leakage not excluded. 4 of 4 images")
    assert patients_unknown(prepare_corpus(PHANTOM, tmp_path / "phantom").counts()) == []


def test_an_audit_that_was_made_before_is_taken(photographs: Path, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    lines = [f"{name},ok,{name},checked by eye" for name in "abcd"]
    table.write_text("\n".join(["image_id,status,group_id,reason", *lines, "e,undecodable,e,broken", ""]))
    corpus = prepare_corpus(fitzpatrick(photographs, audit_csv=str(table)), tmp_path / "run")
    assert corpus.counts()["groups"] == 4
    assert corpus.quarantined == [("e", "undecodable: broken")]
    assert not (tmp_path / "run" / "audit.csv").exists()


def test_a_data_set_of_the_hub_is_not_audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(IMAGEFOLDER, load=lambda config, attributes=(): LoadedCorpus(tiny_corpus(4), [], []))
    monkeypatch.setitem(registry.CORPORA, "imagefolder", own)
    config = CorpusConfig("imagefolder", 32, imagefolder=ImageFolderConfig("owner/name"))
    assert prepare_corpus(config, tmp_path).counts()["images"] == 4


def test_another_cache_folder_keeps_everything(photographs: Path, tmp_path: Path) -> None:
    config = replace(fitzpatrick(photographs), cache_dir=str(tmp_path / "shared"))
    first = prepare_corpus(config, tmp_path / "first")
    assert not (tmp_path / "first" / "cache").exists()
    assert (tmp_path / "shared" / first.fingerprint).is_dir()
    assert prepare_corpus(config, tmp_path / "second").fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (replace(PHANTOM, image_size=8), r"x\.image_size: 8 is outside 16 to 1024 pixels"),
        (replace(PHANTOM, crop="middle"), r"x\.crop: 'middle' is none of centre, stretch, pad"),
        (replace(PHANTOM, crop_margin=-0.1), r"x\.crop_margin: -0.1 is outside 0 to 4"),
        (replace(PHANTOM, bit_depth=8), r"x\.bit_depth: 8 is outside 9 to 16 bits"),
        (CorpusConfig("fitzpatrick17k"), r"x\.fitzpatrick17k\.data_dir is not given: name the folder"),
        (CorpusConfig("imagefolder"), r"x\.imagefolder\.data_dir is not given: name the folder"),
        (CorpusConfig("ham10000"), r"x\.ham10000\.data_dir is not given: name the folder"),
        (
            replace(PHANTOM, phantom=PhantomConfig(classes=["wart"])),
            r"x\.phantom\.classes: unknown class 'wart'",
        ),
    ],
)
def test_settings_that_cannot_work_are_named(config: CorpusConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.validate("x.")


def test_a_missing_folder_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"data_dir: .*absent is not a folder"):
        prepare_corpus(fitzpatrick(tmp_path / "absent"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_of_12_bits_are_not_constant_once_their_depth_is_said(tmp_path: Path) -> None:
    (tmp_path / "images" / "acne").mkdir(parents=True)
    for number in range(3):
        samples = np.random.default_rng(number).integers(0, 1000, (40, 40), dtype=np.uint16)
        Image.fromarray(samples).save(tmp_path / "images" / "acne" / f"{number}.png")
    config = CorpusConfig("imagefolder", 32, imagefolder=ImageFolderConfig(str(tmp_path / "images")))
    with pytest.raises(CorpusError, match="no image of images is left"):
        prepare_corpus(config, tmp_path / "dark")  # the audit calls them constant
    dark = prepare_corpus(replace(config, audit=False), tmp_path / "dark")
    assert any("corpus.bit_depth 10" in said for said in dark.warnings)
    bright = prepare_corpus(replace(config, bit_depth=10), tmp_path / "bright")
    assert len(bright.dataset) == 3
    assert bright.warnings[-1] == ("3 images (such as acne/0.png): samples from 0 to 1,023 become 0 to 255")
    assert np.asarray(bright.dataset[0]["image"]).mean() > 100


def test_a_crop_around_a_part_needs_the_parts(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(fitzpatrick(photographs), audit=False, crop="box", crop_margin=0.0)
    with pytest.raises(CorpusError, match=r"corpus\.crop: box needs a box for each image, and fitz"):
        prepare_corpus(config, tmp_path)
    entry = registry.CORPORA["fitzpatrick17k"]
    boxes = dict.fromkeys("abc", (8, 8, 32, 32))

    def load(settings: Fitzpatrick17kConfig, attributes: object = ()) -> LoadedCorpus:
        return replace(entry.load(settings), boxes=boxes)

    monkeypatch.setitem(registry.CORPORA, "fitzpatrick17k", replace(entry, load=load))
    corpus = prepare_corpus(config, tmp_path)
    assert corpus.dataset["image_id"][:] == ["a", "b", "c"]
    assert np.array_equal(np.asarray(corpus.dataset[1]["image"]), np.asarray(noise(1))[8:40, 8:40])
    assert corpus.frames["b"] == (8, 8, 32, (8, 8, 40, 40))
    assert dict(corpus.quarantined)["d"] == "corpus.crop is box, and no box is given for it"


def test_a_margin_without_a_part_changes_nothing() -> None:
    assert replace(PHANTOM, crop="pad").idle()["crop_margin"] == "corpus.crop is pad"
    assert "crop_margin" not in replace(PHANTOM, crop="mask").idle()


def test_a_folder_in_place_of_a_corpus_is_told_of_the_check(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder; `skindiff data check .*` says how it is read"):
        find_corpus(str(tmp_path))
