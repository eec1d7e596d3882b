"""The results of a run: what they say arrives, what they were computed from stays."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from PIL import Image, PngImagePlugin

from skindiff.errors import HubError
from skindiff.hub.cards import Card, coverage_text, eval_results, model_card
from skindiff.hub.origin import Origin, find_facts
from tests.hub.conftest import Client
from tests.hub.server import Hub

PUSH = """
    from skindiff.errors import HubError
    from skindiff.hub.results import push_run
    for options in (
        {"licence": "apache-2.0"},
        {"licence": "cc-by-nc-sa-4.0"},
        {"licence": "cc-by-nc-sa-4.0", "repo_id": "me/open", "override": "the clinic gave leave"},
    ):
        try:
            push_run("run", **{"repo_id": "me/run", **options})
        except HubError as error:
            print(error)
    import sys
    assert "torch" not in sys.modules
"""
LOAD = """
    import re, runpy
    from huggingface_hub import hf_hub_download
    text = open(hf_hub_download("me/run", "README.md", repo_type="dataset"), encoding="utf-8").read()
    open("card.py", "w").write(re.search("```python\\n(.*?)```", text, re.DOTALL)[1])
    print(sorted(path.name for path in runpy.run_path("card.py")["folder"].iterdir()))
    from skindiff.errors import HubError
    from skindiff.hub.client import push_files
    from skindiff.hub.load import load_run
    push_files({"report.json": b"{}"}, "me/run", repo_type="dataset", message="an edit")
    try:
        load_run("me/run")
    except HubError as error:
        print(error)
"""


def _summary(arm: str, mean: float | None, delta: float | None) -> dict[str, object]:
    key = {"scenario": "iii", "test_group": "dark", "generator": None, "strategy": None, "ratio": None}
    ends = {"ci_low": 0.1, "ci_high": 0.9, "delta_ci_low": -0.2, "delta_ci_high": 0.3}
    series = {"arm": arm, "architecture": "resnet18", "preset": "grouped", "metric": "balanced_accuracy"}
    return {
        **key,
        **series,
        **dict.fromkeys(("chance", "reference")),
        **dict.fromkeys(("cells", "groups", "images"), 3),
        "mean": mean,
        "delta": delta,
        **(ends if mean is not None else dict.fromkeys(ends)),
    }


def run_folder(folder: Path, corpus: str = "fitzpatrick17k") -> Path:
    """A finished run in small: what a study leaves, the private parts included."""
    (folder / "pictures").mkdir(parents=True)
    (folder / "stages" / "lora").mkdir(parents=True)
    (folder / "stages" / "lora" / "weights.safetensors").write_bytes(b"private")
    (folder / "audit.csv").write_text("image_id,status,group_id,reason\nsmith-1,ok,smith,\n")
    config = {"corpus": {"name": corpus, corpus: {"data_dir": "/home/alice/photos"}}}
    config |= {"split": {"scenario": "iii", "majority_types": ["I", "II"], "minority_types": ["V"]}}
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "output_dir": "/home/alice/run"}))
    result = {**_summary("real", 0.5, None), "per_skin_type_recall": {"V": 0.25, "VI": None}}
    result |= {"train_seed": 0}
    verdict = {**_summary("real+syn", 0.625, 0.125), "reference": "real", "verdict": "cannot tell"}
    verdict |= {"sentence": "real+syn cannot be told from real"}
    report = {
        "recipe": "fitz_lora",
        "title": "Does it help?",
        "config": config,
        "corpus": {"name": corpus},
        "verdicts": [verdict],
        "summary": [
            _summary("real", 0.5, None),
            _summary("real+syn", 0.625, 0.125),
            _summary("syn", None, None),
        ],
        "results": [result],
        "notes": ["Two seeds are few."],
        "reading": ["1 image has no row in smith.csv (such as smith/1.jpg)"],
    }
    (folder / "report.json").write_text(json.dumps(report))
    text = "# Does it help?\n\n![Samples.](pictures/samples.png)\n\n![Curves.](pictures/training.png)\n"
    (folder / "report.md").write_text(text)
    note = PngImagePlugin.PngInfo()
    note.add_text("Author", "alice")
    for name in ("samples.png", "training.png"):
        Image.new("RGB", (4, 4), (9, 9, 9)).save(folder / "pictures" / name, pnginfo=note)
    return folder


def test_results_make_the_round_trip_and_leave_the_rest_at_home(hub: Hub, client: Client) -> None:
    run_folder(client.folder / "run")

    said = client.succeed(PUSH)
    loaded = client.succeed(LOAD).splitlines()

    assert said.strip().startswith("licence: 'apache-2.0' is forbidden by Fitzpatrick17k")
    assert loaded[0] == "real+syn cannot be told from real"
    assert loaded[1] == "['README.md', 'config.yaml', 'pictures', 'report.json', 'report.md']"
    assert "report.json is not the one that the card was made from" in loaded[2]
    repository = hub.repositories.find("dataset", "me/run")
    assert repository is not None
    pushed = repository.commits[-2].files
    files = {name: hub.repositories.blob(entry.sha256) for name, entry in pushed.items()}
    assert f"`{pushed['report.json'].sha256}`" in files["README.md"].decode()
    assert sorted(files) == ["README.md", "config.yaml", "pictures/training.png", "report.json", "report.md"]
    assert not any(b"alice" in content or b"smith" in content for content in files.values())
    text = files["report.md"].decode()
    assert "![Curves.](pictures/training.png)" in text
    assert "samples.png" not in text
    assert "Samples. It may show photographs of the corpus" in text
    card = files["README.md"].decode()
    for phrase in (
        "| 50.0 [10.0, 90.0] | - |",
        "| 62.5 [10.0, 90.0] | +12.5 [-20.0, +30.0] against real |",
        "Split scenario (iii): majority types I, II; minority types V.",
        "| resnet18, real | 25.0 | - |",
        "Fitzpatrick17k, licence `cc-by-nc-sa-3.0`. Credit: Groh et al.",
        "accelerate launch recipes/fitz_lora.py --config config.yaml",
        "Two seeds are few.",
    ):
        assert phrase in card, phrase
    opened = hub.files("dataset", "me/open")
    assert "pictures/samples.png" in opened
    assert "the clinic gave leave" in opened["README.md"].decode()


def test_scores_stand_in_the_card_as_eval_results_with_intervals(tmp_path: Path) -> None:
    facts = find_facts(None, run_folder(tmp_path / "run") / "stages" / "lora", "cc-by-nc-sa-3.0")
    results = eval_results(facts.report, architecture="resnet18", arms=["real+syn", "syn"])
    card = Card(
        "name", "What.", "print()", results, coverage_text(facts), ["None."], base_model="me/base@abc"
    )
    read = ModelCard(model_card(card, facts, library="timm", task="image-classification").decode()).data
    assert (read.license, read.base_model, len(read.eval_results)) == ("cc-by-nc-sa-3.0", "me/base", 1)
    (result,) = read.eval_results
    assert (result.metric_type, result.metric_value) == ("balanced_accuracy", 0.625)
    assert result.metric_args["interval_95"] == [0.1, 0.9]
    assert result.metric_args["difference_interval"] == [-0.2, 0.3]
    assert result.metric_args["reference"] == "real"
    assert result.dataset_name == "fitzpatrick17k (scenario iii, dark test images, preset grouped)"
    assert result.task_name == "resnet18 trained on real+syn"
    assert np.isfinite(result.metric_value)


def test_what_is_said_of_the_origin_must_fit_the_run(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    artefact = run / "stages" / "lora"
    assert find_facts(None, artefact, "cc-by-nc-sa-3.0").corpora == ("fitzpatrick17k",)
    with pytest.raises(
        HubError, match="phantom is given, and the run that lora lies in learnt from fitzpatrick17k"
    ):
        find_facts(Origin(["phantom"]), artefact, "apache-2.0")
    both = Origin(["phantom", "fitzpatrick17k"])
    assert len(find_facts(both, artefact, "cc-by-nc-sa-3.0").terms) == 2
    with pytest.raises(HubError, match=r"holds no config\.yaml; give the output_dir"):
        find_facts(Origin(["phantom"], run=str(tmp_path)), artefact, "mit")
    own = run_folder(tmp_path / "own", "imagefolder") / "stages"
    with pytest.raises(HubError, match="corpus_licence: is not given"):
        find_facts(None, own, "mit")
    assert find_facts(Origin(corpus_licence="cc-by-4.0"), own, "mit").terms[0].licence == "cc-by-4.0"
    assert find_facts(None, run_folder(tmp_path / "phantom", "phantom"), "mit").shows_nobody
