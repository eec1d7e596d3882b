"""Pushes of photographs of patients: every byte that arrives is searched for what must not be there."""

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest

from skindiff.demo.config import DemoConfig
from skindiff.demo.space import write_space
from skindiff.hub.leaving import LEAVES
from tests.hub import planted
from tests.hub.conftest import Client
from tests.hub.server import Hub

KINDS = ("adapter", "pipeline", "classifier", "synthetic", "run")
PUSH = f"""
    import skindiff
    from skindiff.hub.origin import Origin

    command = "skindiff train lora --data_dir '/home/{planted.MARK}/my {planted.MARK}/photos'"
    origin = Origin(["imagefolder"], corpus_licence="cc-by-4.0", commands=[command], run="run")
    for kind in {KINDS}:
        options = {{"sources": None}} if kind == "synthetic" else {{}}
        from skindiff.hub.artefact import push_artefact
        push_artefact(kind, kind, f"me/{{kind}}", licence="cc-by-4.0", private=True, origin=origin, **options)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    corpus = planted.photographs(folder / f"{planted.MARK} clinic" / f"{planted.MARK}-photographs")
    planted.run(folder / "run", corpus)
    planted.adapter(folder / "adapter")
    planted.pipeline(folder / "pipeline")
    planted.classifier(folder / "classifier")
    planted.synthetic(folder / "synthetic", corpus)
    return folder


def test_nothing_private_arrives(hub: Hub, client: Client, made: Path) -> None:
    client.folder = made
    client.succeed(PUSH)
    arrived = {}
    for kind in KINDS:
        files = hub.files("dataset" if kind in ("synthetic", "run") else "model", f"me/{kind}")
        arrived |= {f"{kind}/{name}": content for name, content in files.items()}
    assert planted.found_in(arrived) == []
    classes = planted.found_in(arrived, "zqclass")  # what the user publishes is there
    assert {"adapter/tokens.json", "classifier/classifier.json", "adapter/README.md"} <= set(classes)
    card, report = arrived["run/README.md"].decode(), arrived["run/report.json"]
    assert re.findall("`([0-9a-f]{64})`", card) == [sha256(report).hexdigest()]
    assert "--data_dir photos" in card
    assert json.loads(report)["config"]["generator"]["lora"]["rank"] == 2
    assert "How to read this" in arrived["run/report.md"].decode()
    assert {name.split("/")[0] for name in arrived} == set(LEAVES)


def test_nothing_private_is_in_a_space(made: Path, tmp_path: Path) -> None:
    offered = DemoConfig(
        generators=[str(made / "adapter"), str(made / "pipeline")], runs=[str(made / "run")], port=None
    )
    place = write_space(tmp_path / "space", offered)
    own = set((place / "skindiff").rglob("*"))
    files = {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and path not in own
    }
    assert planted.found_in(files) == []
    assert "generators/adapter/tokens.json" in files
    assert not any("samples" in name for name in files)


def test_the_search_finds_what_is_hidden(made: Path) -> None:
    private = {
        path.relative_to(made).as_posix(): path.read_bytes()
        for kind in KINDS
        for path in (made / kind).rglob("*")
        if path.suffix in (".png", ".parquet", ".safetensors", ".json", ".yaml") and kind != "run"
    }
    found = planted.found_in({name.replace(planted.MARK, "x"): data for name, data in private.items()})
    for name in ("synthetic/synthetic-00000-of-00001.parquet", "adapter/pytorch_lora_weights.safetensors"):
        assert name in found
