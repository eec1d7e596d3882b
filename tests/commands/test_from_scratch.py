from pathlib import Path

import pytest

import skindiff
from skindiff.synthesis.writer import load_synthetic
from tests.commands.conftest import CORPUS, Run


def test_a_pipeline_is_trained_and_drawn_with(
    work: Path, run_command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run_command(
        "train", "fc_cvae", "--threads", "1", "--output_dir", work / "cvae", *CORPUS,
        "--fc_cvae.loop.steps", "2", "--fc_cvae.loop.batch_size", "4",
    )  # fmt: skip
    pipeline = skindiff.load(work / "cvae" / "pipeline")
    assert list(pipeline.config.class_names) == ["nodule", "ring"]
    assert f"next: skindiff sample --generator {work / 'cvae' / 'pipeline'}" in said
    sample = ["sample", "--threads", "1", "--generator", work / "cvae"]
    run_command(*sample, "--output_dir", work / "drawn", "--images", "3", "--classes", '["ring"]')
    drawn = load_synthetic(work / "drawn" / "data")
    assert list(drawn["label"]) == [1, 1, 1]
    assert set(drawn["family"]) == {"fc_cvae"}
    assert (work / "drawn" / "trained_on.json").is_file()
    capsys.readouterr()
    run_command(*sample, "--output_dir", work / "types", "--skin_types", '["V"]', status=2)
    assert "is a fc_cvae, which draws by class alone" in capsys.readouterr().err
    run_command(*sample, "--output_dir", work / "moved", "--mode", "transfer", status=2)
    assert capsys.readouterr().err.startswith("error: mode: ")


def test_a_family_that_redraws_takes_its_corpus(work: Path, run_command: Run) -> None:
    run_command(
        "train", "fc-autoencoder", "--threads", "1", "--output_dir", work / "fc", *CORPUS,
        "--fc_autoencoder.loop.steps", "2", "--fc_autoencoder.loop.batch_size", "4",
    )  # fmt: skip
    same = ["--corpus", work / "fc" / "corpus.yaml", "--split", work / "fc" / "split.yaml"]
    run_command(
        "sample", "--threads", "1", "--generator", work / "fc", *same, "--images", "2",
        "--output_dir", work / "redrawn",
    )  # fmt: skip
    drawn = load_synthetic(work / "redrawn" / "data")
    assert len(drawn) == 4
    assert all(drawn["source_id"])
