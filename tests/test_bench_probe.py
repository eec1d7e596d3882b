"""The benchmark of probes, on a handful of images."""

import json
from pathlib import Path

import pytest

import skindiff
from skindiff.errors import ConfigError
from tests.test_scripts import load_script

bench = load_script("bench_probe")


@pytest.mark.slow
def test_it_times_both_on_the_same_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = skindiff.load_corpus(
        "phantom", classes=["nodule", "ring"], repeat_share=0.0, images_per_class={"I": 8, "V": 8}
    )
    for row in drawn.dataset:
        file = (
            tmp_path / "images" / drawn.class_names[row["label"]] / f"{row['image_id'].replace('/', '-')}.png"
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        row["image"].save(file)
    output = tmp_path / "bench.json"
    found = bench.main(bench.Bench(images=str(tmp_path / "images"), fits=1, steps=2, output=str(output)))
    assert json.loads(output.read_text()) == found
    assert all(value > 0 for value in found.values())
    ratio = found["probe cells/min, real"] / found["resnet18 cells/min"]
    assert found["ratio, real"] == pytest.approx(ratio)
    assert "test images of 2 classes, one thread" in capsys.readouterr().out


def test_it_needs_a_fit() -> None:
    with pytest.raises(ConfigError, match="fits and steps are 0 and 26"):
        bench.main(bench.Bench(fits=0))
