"""The gate before a push of synthetic images: where its threshold comes from, and that no push undoes it."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Value

from skindiff.hub import synthetic
from skindiff.hub.client import Pushed
from skindiff.hub.origin import Origin
from skindiff.measures.copying.memorisation import CopyingConfig, memorisation, near_copies
from skindiff.measures.copying.near_copies import REPORT_FILE, load_near_copies
from skindiff.measures.copying.threshold import THRESHOLD
from tests.measures.copying.photographs import drawn, photograph, real, recoloured

WORDS = "the people shown agreed to it"


@pytest.fixture(scope="module")
def sources() -> Dataset:
    return real(range(6))


@pytest.fixture(scope="module")
def held_out() -> Dataset:
    """As many groups as a threshold at 2% needs."""
    return real(range(400, 560))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A synthetic data set: a copy of one source, and an image that only has one."""
    images = drawn([recoloured(photograph(0)), photograph(200)], ["photo-0", "photo-1"])
    for name, values in (("group_id", ["a", "b"]), ("skin_type", ["V", "V"]), ("generator", ["g@1", "g@1"])):
        images = images.add_column(name, values)
    images = images.add_column("label", [0, 1]).cast_column("label", ClassLabel(names=["a", "b"]))
    images.cast_column("skin_type", Value("string")).to_parquet(tmp_path / "synthetic-00000-of-00001.parquet")
    return tmp_path


@pytest.fixture
def push(monkeypatch: pytest.MonkeyPatch, shards: Path) -> Any:
    """Pushes the shards to nowhere and returns the report and the card that would be on the Hub."""
    sent: dict[str, bytes] = {}

    def push_files(files: dict[str, Any], repo_id: str, **_: Any) -> Pushed:
        sent.update({name: content for name, content in files.items() if isinstance(content, bytes)})
        return Pushed(repo_id, "dataset", "https://hub", "c0", True)

    monkeypatch.setattr(synthetic, "push_files", push_files)

    def push(**options: Any) -> tuple[dict[str, Any], str]:
        origin = Origin(["imagefolder"], corpus_licence="cc-by-4.0", base_model="me/base", base_licence="mit")
        settings = {"licence": "cc-by-4.0", "origin": origin, "override": WORDS, **options}
        synthetic.push_synthetic(shards, "me/set", **settings)
        return json.loads(sent[REPORT_FILE]), sent["README.md"].decode()

    return push


def test_held_out_images_set_the_threshold_of_a_push(
    push: Any, shards: Path, sources: Dataset, held_out: Dataset
) -> None:
    report, card = push(sources=sources, held_out=held_out)
    assert (report["threshold_source"], report["held_out_groups"]) == ("held-out", 160)
    assert report["threshold"] != THRESHOLD
    assert report["near_copies"] == 1
    assert "set on 160 groups of held-out images" in card
    saved = load_near_copies(shards)
    found = memorisation(synthetic.load_synthetic(shards), sources, held_out, CopyingConfig(planted=0))
    assert saved == found.report  # what a recipe would have left there


def test_a_push_leaves_a_threshold_that_was_set_as_it_is(
    push: Any, shards: Path, sources: Dataset, held_out: Dataset
) -> None:
    near_copies(synthetic.load_synthetic(shards), sources, held_out).save(shards)
    before = (shards / REPORT_FILE).read_bytes()
    report, _ = push(sources=sources)
    assert report["threshold_source"] == "held-out"
    assert (shards / REPORT_FILE).read_bytes() == before


def test_without_held_out_images_the_default_is_said(
    push: Any, shards: Path, sources: Dataset, held_out: Dataset
) -> None:
    report, card = push(sources=sources)
    assert (report["threshold_source"], report["threshold"]) == ("default", THRESHOLD)
    assert "the default, as 0 groups of held-out images are too few to set it" in card
    with pytest.raises(synthetic.HubError, match="the default, as 0 groups of held-out images"):
        push(override=None)
    report, _ = push(sources=sources, held_out=held_out)  # a default makes way for a threshold that was set
    assert report["threshold_source"] == "held-out"


def test_a_set_about_other_images_is_compared_anew(
    push: Any, shards: Path, sources: Dataset, held_out: Dataset
) -> None:
    others = drawn([photograph(300)], ["photo-0"])
    near_copies(others, sources, held_out).save(shards)
    assert push(sources=sources)[0]["images"] == 2


def test_a_report_of_an_earlier_version_is_taken(
    push: Any, shards: Path, sources: Dataset, held_out: Dataset
) -> None:
    path = near_copies(synthetic.load_synthetic(shards), sources, held_out).save(shards)
    content = json.loads(path.read_text())
    for name in ("threshold_source", "held_out_groups", "sha256"):
        del content[name]
    path.write_text(json.dumps(content))
    report, card = push(sources=sources)
    assert (report["threshold_source"], report["held_out_groups"]) == ("held-out", None)
    assert "set on held-out images" in card
    path.write_text(json.dumps({**content, "threshold": THRESHOLD}))
    assert push()[0]["threshold_source"] == "default"
