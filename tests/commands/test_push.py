import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from skindiff.commands.push import find_artefact
from skindiff.errors import ConfigError
from skindiff.hub import push, synthetic
from tests.commands.conftest import Run

Made = tuple[Path, str]


def test_what_a_run_holds_is_found(tmp_path: Path, lora_run: Made, transfer_run: Made) -> None:
    assert find_artefact(str(lora_run[0])) == ("adapter", str(lora_run[0] / "adapter"))
    assert find_artefact(str(lora_run[0] / "adapter")) == ("adapter", str(lora_run[0] / "adapter"))
    assert find_artefact(str(transfer_run[0])) == ("synthetic", str(transfer_run[0] / "data"))
    assert find_artefact("bundled") == ("pipeline", "bundled")
    with pytest.raises(ConfigError, match="holds no adapter or pipeline or"):
        find_artefact(str(tmp_path))
    (tmp_path / "report.json").write_text("{}")
    assert find_artefact(str(tmp_path)) == ("run", str(tmp_path))
    with pytest.raises(ConfigError, match="holds no classifier that is finished"):
        find_artefact(str(tmp_path), "classifier")


def test_push_hands_over_what_was_typed(
    monkeypatch: pytest.MonkeyPatch, run_command: Run, lora_run: Made, transfer_run: Made
) -> None:
    calls: list[tuple[str, str, dict]] = []

    def pushed(folder: str, repo_id: str, **settings: object) -> SimpleNamespace:
        calls.append((str(folder), repo_id, settings))
        return SimpleNamespace(repo_id=repo_id, url=f"https://hub/{repo_id}", revision="c0", private=True)

    monkeypatch.setattr(push, "push_adapter", pushed)
    monkeypatch.setattr(synthetic, "push_synthetic", pushed)
    said = run_command(
        "push", lora_run[0], "me/it", "--licence", "mit", "--origin.base_model", "a/b", "--public"
    )
    folder, repo_id, settings = calls.pop()
    assert (folder, repo_id) == (str(lora_run[0] / "adapter"), "me/it")
    assert settings["licence"] == "mit"
    assert settings["origin"].base_model == "a/b"
    assert settings["private"] is False
    assert "next: skindiff sample --generator me/it --revision c0" in said
    run_command("push", transfer_run[0], "me/set", "--licence", "mit", "--leave_out_copies")
    settings = calls.pop()[2]
    assert settings["leave_out_copies"]
    assert settings["private"] is True
    taught = json.loads((transfer_run[0] / "trained_on.json").read_text())["image_ids"]
    assert set(settings["sources"]["image_id"]) == set(taught)
    assert len(settings["held_out"]) > 0
    assert not set(settings["sources"]["group_id"]) & set(settings["held_out"]["group_id"])


def test_a_push_says_where_its_threshold_comes_from(
    monkeypatch: pytest.MonkeyPatch, run_command: Run, transfer_run: Made
) -> None:
    sent: dict[str, object] = {}

    def push_files(files: dict[str, object], repo_id: str, **_: object) -> SimpleNamespace:
        sent.update(files)
        return SimpleNamespace(repo_id=repo_id, url=f"https://hub/{repo_id}", revision="c0", private=True)

    monkeypatch.setattr(synthetic, "push_files", push_files)
    said = run_command(
        "push", transfer_run[0], "me/set", "--licence", "mit", "--override", "all of them are drawings",
        "--origin.base_model", "a/b", "--origin.base_licence", "mit",
    )  # fmt: skip
    images = len(synthetic.load_synthetic(transfer_run[0] / "data"))
    held_out = json.loads(sent["near_copies.json"])["held_out_groups"]
    assert held_out > 0
    assert f"of {images} images, at similarity 0.93 or more (the default, as {held_out} groups of" in said


def test_nothing_is_held_out_where_it_is_not_recorded_what_taught_the_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_command: Run, transfer_run: Made
) -> None:
    calls: list[dict] = []

    def pushed(folder: str, repo_id: str, **settings: object) -> SimpleNamespace:
        calls.append(settings)
        return SimpleNamespace(repo_id=repo_id, url=f"https://hub/{repo_id}", revision="c0", private=True)

    monkeypatch.setattr(synthetic, "push_synthetic", pushed)
    shutil.copytree(transfer_run[0], tmp_path / "run")
    (tmp_path / "run" / "trained_on.json").unlink()
    run_command("push", tmp_path / "run", "me/set", "--licence", "mit")
    assert len(calls[0]["sources"]) == 32
    assert calls[0]["held_out"] is None


def test_a_push_begins_without_torch() -> None:
    code = "import sys, skindiff.commands.push; assert not {'torch', 'diffusers'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
