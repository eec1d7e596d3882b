"""What is pushed is the copy that was checked: no link, no FIFO, no change between the two gets in."""

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from skindiff.errors import HubError, RunFolderError
from skindiff.hub import push, results, staging
from skindiff.hub.artefact import class_words, push_artefact
from skindiff.hub.client import Pushed
from skindiff.hub.leaving import files_of
from skindiff.hub.origin import Origin
from skindiff.hub.staging import bare_weights, read_own, staged
from skindiff.manifest import hashes_of
from tests.hub import planted
from tests.hub.test_results import run_folder

PHANTOM = Origin(["phantom"], base_model="me/base", base_licence="mit")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_folder(tmp_path / "run", "phantom")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What a push would have sent, read when it would have been sent."""
    found: dict[str, bytes] = {}

    def keep(files: dict[str, Path | bytes], repo_id: str, **_: Any) -> Pushed:
        for name, content in files.items():
            found[name] = content if isinstance(content, bytes) else content.read_bytes()
        return Pushed(repo_id, "model", "", "", True)

    for module in (push, results):
        monkeypatch.setattr(module, "push_files", keep)
    return found


def test_the_copy_is_private_and_goes_away(run: Path) -> None:
    with staged(run, files_of("run")) as own:
        assert stat.S_IMODE(own.parent.stat().st_mode) == 0o700
        assert sorted(path.name for path in own.rglob("*") if path.is_file()) == [
            "config.yaml", "report.json", "report.md", "samples.png", "training.png"
        ]  # fmt: skip
    assert not own.parent.exists()


def test_what_was_checked_is_what_goes(
    tmp_path: Path, sent: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = planted.adapter(tmp_path / "adapter")
    made = push.model_card

    def swapped(*args: Any, **options: Any) -> bytes:  # after the checks, before the files are sent
        for path in folder.rglob("*.safetensors"):
            path.write_bytes(b"other bytes")
        (folder / "tokens.json").unlink()
        return made(*args, **options)

    monkeypatch.setattr(push, "model_card", swapped)
    push.push_adapter(folder, "me/x", licence="mit", origin=PHANTOM)
    assert not any(b"other bytes" in content for content in sent.values())
    assert list(json.loads(sent["tokens.json"])) == [planted.CLASSES[0]]
    assert sorted(sent) == [
        "README.md", "config.yaml", f"learned_embeds/{planted.TOKEN.strip('<>')}.safetensors",
        "pytorch_lora_weights.safetensors", "tokens.json", "training_log.csv",
    ]  # fmt: skip


def test_a_file_that_changes_while_it_is_copied_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copyfileobj

    def slowly(source: Any, target: Any, *size: int) -> None:
        copied(source, target, *size)
        with (run / "report.md").open("a") as stream:
            stream.write("more")

    monkeypatch.setattr(staging.shutil, "copyfileobj", slowly)
    with pytest.raises(HubError, match=r"report\.md changes while it is read"), staged(run, ["report.md"]):
        pass


def test_a_folder_that_becomes_a_link_is_not_followed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = os.stat

    def then_swapped(path: Any, *args: Any, **options: Any) -> os.stat_result:
        found = seen(path, *args, **options)
        if path == "pictures" and not (run / "pictures").is_symlink():
            os.rename(run / "pictures", run.parent / "elsewhere")
            (run / "pictures").symlink_to(run.parent / "elsewhere")
        return found

    monkeypatch.setattr(staging.os, "stat", then_swapped)
    with pytest.raises(HubError, match="is a link"):
        read_own(run, "pictures/training.png")


def test_nothing_but_files_is_opened(run: Path) -> None:
    (run / "report.md").unlink()
    os.mkfifo(run / "report.md")
    with pytest.raises(HubError, match=r"report\.md is no regular file, so it is not opened"):
        results.push_run(run, "me/x", licence="mit")
    for name in ("../run/report.json", "/etc/passwd", "", "pictures/../config.yaml"):
        with pytest.raises(HubError, match="leads out of run"):
            read_own(run, name)
    (run / "report.md").unlink()
    (run / "report.md").symlink_to("/etc/passwd")
    with pytest.raises(HubError, match=r"report\.md is a link"):
        results.push_run(run, "me/x", licence="mit")


def test_a_full_disk_is_a_sentence(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(staging.shutil, "copyfileobj", full)
    with (
        pytest.raises(HubError, match=r"No space left.*another folder by TMPDIR"),
        staged(run, ["report.md"]),
    ):
        pass


def test_damage_is_refused_by_name(run: Path, sent: dict[str, bytes]) -> None:
    (run / "files.json").write_text(json.dumps(hashes_of(run, "report.json", "report.md", "pictures")))
    results.push_run(run, "me/x", licence="mit")
    assert "report.md" in sent
    (run / "report.md").write_text((run / "report.md").read_text().replace("help", "hurt"))
    with pytest.raises(RunFolderError, match=r"run/report\.md is not what its run wrote"):
        results.push_run(run, "me/x", licence="mit")


def test_weights_keep_their_bytes_unless_metadata_goes(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    lora = {"unet.r": 2, "unet.base_model_name_or_path": None, "unet.target_modules": ["to_q"]}
    kept = {"format": "pt", "lora_adapter_metadata": json.dumps(lora)}
    for metadata in (None, {"format": "pt"}, kept):
        save_file({"a": torch.arange(3.0)}, path, metadata=metadata)
        before = path.read_bytes()
        bare_weights(path)
        assert path.read_bytes() == before
    save_file({"a": torch.arange(3.0)}, path, metadata={**kept, "author": "alice"})
    bare_weights(path)
    assert b"alice" not in path.read_bytes()
    assert torch.equal(load_file(path)["a"], torch.arange(3.0))
    for content in (b"", b"\xff" * 8, b"\x04" + b"\0" * 7 + b"[1]x", b"\x02" + b"\0" * 7 + b"1 "):
        path.write_bytes(content)
        with pytest.raises(HubError, match=r"w\.safetensors is no safetensors file"):
            bare_weights(path)


def test_class_words_are_named_before_they_leave(tmp_path: Path, run: Path, sent: dict[str, bytes]) -> None:
    corpus = planted.photographs(tmp_path / "photographs")
    assert class_words("adapter", str(planted.adapter(tmp_path / "adapter"))) == [planted.CLASSES[0]]
    assert class_words("classifier", str(planted.classifier(tmp_path / "classifier"))) == list(
        planted.CLASSES
    )
    assert class_words("synthetic", str(planted.synthetic(tmp_path / "set", corpus))) == list(planted.CLASSES)
    assert class_words("pipeline", "bundled") == []
    assert class_words("run", str(run)) == []
    told: list[str] = []
    settings = {"licence": "mit", "private": True, "origin": PHANTOM}
    push_artefact("adapter", str(tmp_path / "adapter"), "me/x", tell=told.append, **settings)
    assert told == [f"class words that leave with it: {planted.CLASSES[0]}"]
    assert sent
