"""The report that the demo opens on is one of the default study, and of nobody's photographs."""

import shutil
from pathlib import Path

import pytest

from skindiff.corpora.phantom import PhantomConfig, load_phantom
from skindiff.errors import ConfigError
from skindiff.generators.models import BUNDLED_LORA, model_revision
from skindiff.generators.resolve import find_generator, load_generator
from tests.demo.conftest import write_run
from tests.test_scripts import load_script

script = load_script("keep_phantom_study")


@pytest.mark.parametrize(
    ("corpus", "settings"),
    [
        ("ham10000", {"name": "smoke", "changed": False}),
        ("phantom", {"name": "smoke", "changed": True}),
        ("phantom", None),
    ],
)
def test_another_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: str, settings: dict[str, object] | None
) -> None:
    monkeypatch.setattr(script, "EXAMPLE", tmp_path / "kept")
    monkeypatch.setattr(script, "read_report", lambda run: {"corpus": {"name": corpus}, "settings": settings})
    with pytest.raises(ConfigError, match="is not the default study on phantom"):
        script.main(str(write_run(tmp_path / "run")))
    assert not (tmp_path / "kept").exists()


def test_what_is_kept_says_what_it_is() -> None:
    page = (script.EXAMPLE / script.PAGE).read_text(encoding="utf-8")
    assert len(page) <= script.LARGEST_BYTES
    assert "<script" not in page
    assert "images computed by a program, of no patient" in page


def test_the_first_adapter_of_a_run_is_kept(tmp_path: Path) -> None:
    kept = find_generator(BUNDLED_LORA).adapter
    assert kept is not None
    for number, seed in enumerate((42, 0, 7)):
        adapter = shutil.copytree(kept, tmp_path / "stages" / f"lora-{number}" / "adapter")
        settings = (adapter / "config.yaml").read_text()
        (adapter / "config.yaml").write_text(settings.replace("    seed: 0\n", f"    seed: {seed}\n"))
    assert script.first_adapter(tmp_path).folder.parent.name == "lora-1"
    with pytest.raises(ConfigError, match="has no LoRA of its own"):
        script.first_adapter(tmp_path / "stages")


def test_the_adapter_in_the_package_is_of_the_study_in_the_package() -> None:
    place = find_generator(BUNDLED_LORA)
    assert place.model == "bundled"
    generator = load_generator(place)
    assert generator.strategy == "ti+lora"
    corpus = load_phantom(PhantomConfig(image_size=16, images_per_class={"II": 1}))
    assert generator.class_names == corpus.features["label"].names
    assert str(generator.name).startswith(model_revision("bundled"))
