"""Cards of artefacts whose names are markup or code: they show them, and no reader runs them."""

import ast
import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from markdown_it import MarkdownIt
from safetensors.torch import save_file

from skindiff.classification.networks import Architecture, build_classifier, save_classifier
from skindiff.errors import GeneratorError
from skindiff.escaping import visible
from skindiff.generators.tokens import placeholder_for
from skindiff.hub import push, results
from skindiff.hub.client import Pushed
from skindiff.hub.origin import Origin
from tests.hub.test_results import run_folder
from tests.test_escaping import NAMES

PHANTOM = Origin(
    ["phantom"],
    base_model="me/base",
    base_licence="mit",
    commands=["skindiff train lora\n```\n<script>alert(1)</script>"],
)
HTML = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def keep(files: dict[str, Path | bytes], repo_id: str, **_: Any) -> Pushed:
        found.update({name: content for name, content in files.items() if isinstance(content, bytes)})
        return Pushed(repo_id, "model", "", "", True)

    for module in (push, results):
        monkeypatch.setattr(module, "push_files", keep)
    return found


def checked(card: bytes) -> str:
    """See that nothing of a card is taken for an order, and return its text."""
    text = card.decode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    body = text.split("---\n", 2)[2]
    page = HTML.render(body)
    tags = set(re.findall(r"<(\w+)", page))
    assert not tags & {"script", "img", "b", "s"}, tags
    assert set(re.findall('href="([^"]*)"', page)) <= {"report.md"}
    for block in HTML.parse(body):
        if block.type == "fence" and block.info == "python":
            names = {node.id for node in ast.walk(ast.parse(block.content)) if isinstance(node, ast.Name)}
            assert not names & {"evil", "alert", "eval", "exec", "os"}
    yaml.safe_load(text.split("---\n", 2)[1])
    return html.unescape(page)


def adapter(folder: Path, **settings: Any) -> Path:
    (folder / "learned_embeds").mkdir(parents=True)
    entries = {}
    for name in NAMES:
        token = placeholder_for(name)
        save_file({token: torch.zeros(1, 4)}, folder / "learned_embeds" / f"{token.strip('<>')}.safetensors")
        entries[name] = {"token": token, "vectors": 1, "initialiser": "skin"}
    (folder / "tokens.json").write_text(json.dumps(entries))
    (folder / "config.yaml").write_text(yaml.safe_dump({"base_model": 'me/base"); evil("', **settings}))
    (folder / "training_log.csv").write_text("stage,step,loss\n")
    return folder


def test_an_adapter_of_hostile_words(tmp_path: Path, sent: dict[str, bytes]) -> None:
    folder = adapter(tmp_path / "adapter")
    push.push_adapter(folder, "me/x", licence="mit", origin=PHANTOM)
    page = checked(sent["README.md"])
    assert all(visible(name).replace("\n", "\\n") in page for name in NAMES)
    assert list(json.loads(sent["tokens.json"])) == list(NAMES)  # what is read back is exact
    assert "me/base, the base model, licence mit: its licence mit holds (as whoever pushed it says)." in (
        re.sub("<[^>]*>", "", page)
    )
    push.push_adapter(folder, "me/x", licence="mit", origin=Origin(["phantom"], base_licence="mit"))
    checked(sent["README.md"])
    assert "evil" in sent["README.md"].decode()


def test_a_class_that_is_code_is_refused(tmp_path: Path, sent: dict[str, bytes]) -> None:
    folder = adapter(tmp_path / "adapter", base_class="X\nimport os; os.system('id')")
    with pytest.raises(GeneratorError, match=r"base_class: .* is no class of base models"):
        push.push_adapter(folder, "me/x", licence="mit", origin=PHANTOM)
    assert not sent


def test_a_classifier_of_hostile_words(tmp_path: Path, sent: dict[str, bytes]) -> None:
    shape = Architecture("medmnist_cnn", 28, NAMES)
    save_classifier(tmp_path / "it", build_classifier(shape, pretrained=False, weights=None, seed=0))
    push.push_classifier(tmp_path / "it", "me/x", licence="mit", origin=PHANTOM)
    page = checked(sent["README.md"])
    assert all(visible(name).replace("\n", "\\n") in page for name in NAMES)
    assert json.loads(sent["classifier.json"])["class_names"] == list(NAMES)


def test_a_run_of_hostile_names(tmp_path: Path, sent: dict[str, bytes]) -> None:
    run = run_folder(tmp_path / "run", "phantom")
    content = json.loads((run / "report.json").read_text())
    content |= {"title": NAMES[0], "recipe": "x.py; touch y #", "notes": list(NAMES), "reading": []}
    content["results"][0] |= {"arm": NAMES[1], "per_skin_type_recall": {"V`": 0.25}}
    content["summary"][0] |= {"arm": NAMES[2], "scenario": NAMES[3], "test_group": NAMES[5]}
    content["config"]["split"] |= {"majority_types": list(NAMES)}
    content["config"]["conditions"] = ["```\n<script>alert(1)</script>\n```", *NAMES]
    (run / "report.json").write_text(json.dumps(content))
    results.push_run(run, "me/x", licence="mit")
    page = checked(sent["README.md"])
    assert NAMES[0] in page
    (command,) = re.findall(r"accelerate launch.*", page)
    assert shlex.split(command)[2] == "recipes/x.py; touch y #.py"
