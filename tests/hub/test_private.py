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
    origin = Origin(
        ["imagefolder", "/home/{planted.MARK}/more"], corpus_licence="cc-by-4.0", commands=[command],
        run="run", base_model="~/{planted.MARK} models/base@ab12", base_licence="mit",
    )
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
    assert f"generators/{made.name}/tokens.json" in files  # called as the folder around it
    assert not any("samples" in name for name in files)


STUDY = f"""
    from pathlib import Path
    import skindiff
    from skindiff.hub.origin import Origin
    from skindiff.demo.config import DemoConfig
    from skindiff.demo.space import write_space

    corpus = skindiff.load_corpus("{planted.MARK} photographs", image_size=32)
    split = skindiff.make_split(corpus, "fractions")
    small = {{"steps": 2, "batch_size": 2}}
    words = skindiff.train_textual_inversion(corpus, split, "bundled", output_dir="words", **small)
    lora = skindiff.train_lora(corpus, split, words, output_dir="lora", **small)
    made = skindiff.transfer(lora, corpus, split, targets=["V"], strength=0.5, steps=4, output_dir="set")
    skindiff.evaluate(
        corpus, split, made, output_dir="study", bootstrap_replicates=100, include_images=True
    )
    for log in (Path("lora/logs/run.txt"), Path("study/wandb/run.txt")):
        log.parent.mkdir(exist_ok=True)
        log.write_text("{planted.MARK}")
    for name in ("lora", "set", "study"):
        options = dict(origin=Origin(["imagefolder"], corpus_licence="cc-by-4.0"), licence="cc-by-4.0")
        if name == "set":
            options["override"] = "all who are shown agreed to it"
        skindiff.push(made if name == "set" else name, f"me/{{name}}", **options)
    write_space("space", DemoConfig(generators=["lora"], runs=["study"]))
"""


@pytest.mark.slow
def test_nothing_private_arrives_of_a_whole_study(hub: Hub, client: Client) -> None:
    corpus = planted.photographs(client.folder / f"{planted.MARK} photographs", images=14)
    client.succeed(STUDY)
    arrived = {}
    for kind, name in (("model", "lora"), ("dataset", "set"), ("dataset", "study")):
        arrived |= {f"{name}/{path}": content for path, content in hub.files(kind, f"me/{name}").items()}
    space = client.folder / "space"
    for path in space.rglob("*"):
        if path.is_file() and not path.is_relative_to(space / "skindiff"):
            arrived[path.relative_to(client.folder).as_posix()] = path.read_bytes()
    assert planted.found_in(arrived) == []
    assert "set/data/train-00000-of-00001.parquet" in arrived
    assert planted.found_in(arrived, "zqclass")
    at_home = [path for path in client.folder.rglob("*.json") if planted.MARK.encode() in path.read_bytes()]
    assert len(at_home) > 2  # the words were there to be found
    assert corpus.is_dir()


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
