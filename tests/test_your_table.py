"""From a flat folder and its table to a report, by commands and from a notebook, without a line of
conversion."""

import json
from pathlib import Path

import pytest

import skindiff
from skindiff.cli import main
from tests.corpora.table_corpus.clinic import clinic

pytestmark = pytest.mark.slow


def test_by_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clinic(tmp_path / "klinik", 96)
    small = ["--corpus.image_size", "64"]
    assert main(["data", "check", "klinik"]) == 0
    assert main(["audit", "corpus.yaml", "--output_dir", "audit", "--cache_dir", "cache"]) == 0
    corpus = ["--corpus", "corpus.yaml", "--corpus.table.audit_csv", "audit/audit.csv", *small]
    few = ["--lora.loop.steps", "2", "--lora.loop.batch_size", "2"]
    assert main(["train", "lora", *corpus, *few, "--output_dir", "lora"]) == 0
    same = ["--corpus", "lora/corpus.yaml", "--split", "lora/split.yaml"]
    transfer = ["sample", "--generator", "lora/adapter", "--mode", "transfer", "--output_dir", "transfer"]
    assert main([*transfer, *same, "--synthesis.steps", "4"]) == 0
    arms = ["--synthetic", "transfer", "--experiment.arms", "[real, real+syn]"]
    assert main(["evaluate", *same, *arms, "--output_dir", "report"]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["splits"][0]["groups_crossing"] == 0
    assert "ungrouped" not in report["corpus"]
    assert {row["arm"] for row in report["results"]} == {"real", "real+syn"}


def test_from_a_notebook(tmp_path: Path) -> None:
    folder = clinic(tmp_path / "klinik", 96)
    columns = {"label": "Diagnose", "patient": "Patient", "attributes": {"sex": "Geschlecht"}}
    corpus = skindiff.load_corpus(
        folder, columns=columns, classes={"eczema": ["Ekzem"], "psoriasis": ["Psoriasis"]}
    )
    assert corpus.audit()["status"].eq("ok").all()
    split = skindiff.make_split(corpus, "scenario", flexible_per_condition=2)
    lora = skindiff.train_lora(corpus, split, "bundled", steps=2, batch_size=2)
    synthetic = skindiff.transfer(lora, corpus, split, targets=["V"], strength=0.3, steps=4)
    report = skindiff.evaluate(corpus, split, synthetic, bootstrap_replicates=100)
    assert set(report.summary["arm"]) >= {"real", "real+syn"}
    assert not any("Patients unknown" in note for note in corpus.warnings)
