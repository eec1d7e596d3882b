"""A link in a folder leads to a file of somebody else's: no push and no Space takes its target along."""

import os
import shutil
from pathlib import Path

import pytest

from skindiff.demo.config import DemoConfig
from skindiff.demo.space import write_space
from skindiff.errors import HubError
from skindiff.hub.origin import Origin
from skindiff.hub.push import push_adapter, push_classifier, push_pipeline
from skindiff.hub.results import push_run
from skindiff.hub.synthetic import push_synthetic
from tests.hub import planted
from tests.hub.test_results import run_folder

PHANTOM = Origin(["phantom"])


def make(kind: str, folder: Path) -> Path:
    if kind == "run":
        return run_folder(folder, "phantom")
    if kind == "synthetic":
        return planted.synthetic(folder, planted.photographs(folder.parent / "photographs"))
    return {"pipeline": planted.pipeline, "adapter": planted.adapter, "classifier": planted.classifier}[kind](
        folder
    )


def push(kind: str, folder: Path) -> None:
    if kind == "run":
        push_run(folder, "me/x", licence="mit")
    elif kind == "pipeline":
        push_pipeline(folder, "me/x", licence="mit", origin=PHANTOM)
    elif kind == "adapter":
        push_adapter(
            folder,
            "me/x",
            licence="mit",
            origin=Origin(["phantom"], base_model="me/base", base_licence="mit"),
        )
    elif kind == "classifier":
        push_classifier(folder, "me/x", licence="mit", origin=PHANTOM)
    else:
        push_synthetic(folder, "me/x", licence="mit", origin=PHANTOM)


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("artefacts")
    return {
        kind: make(kind, place / kind) for kind in ("run", "pipeline", "adapter", "classifier", "synthetic")
    }


LINKS = [
    ("run", "report.md"),
    ("run", "report.json"),
    ("run", "config.yaml"),
    ("run", "pictures/training.png"),
    ("run", "pictures"),
    ("pipeline", "model_index.json"),
    ("pipeline", "unet/diffusion_pytorch_model.safetensors"),
    ("pipeline", "scheduler/scheduler_config.json"),
    ("pipeline", "vae"),
    ("adapter", "tokens.json"),
    ("adapter", "config.yaml"),
    ("adapter", "training_log.csv"),
    ("adapter", "pytorch_lora_weights.safetensors"),
    ("adapter", "learned_embeds"),
    ("classifier", "classifier.json"),
    ("classifier", "classifier.safetensors"),
    ("synthetic", "synthetic-00000-of-00001.parquet"),
]


@pytest.mark.parametrize(("kind", "name"), LINKS, ids=[f"{kind}-{name}" for kind, name in LINKS])
def test_a_link_is_never_followed(artefacts: dict[str, Path], tmp_path: Path, kind: str, name: str) -> None:
    folder = tmp_path / "pushed"
    shutil.copytree(artefacts[kind], folder)
    elsewhere = tmp_path / "elsewhere"
    os.replace(folder / name, elsewhere)
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(HubError, match=r"is a link.*put the file itself there"):
        push(kind, folder)
    if (kind, name) in (("run", "report.md"), ("run", "pictures"), ("pipeline", "model_index.json")):
        with pytest.raises(HubError, match="is a link"):
            write_space(
                tmp_path / "space",
                DemoConfig(runs=[str(folder)]) if kind == "run" else DemoConfig(generators=[str(folder)]),
            )


def test_what_no_list_names_stays(artefacts: dict[str, Path], tmp_path: Path, monkeypatch) -> None:
    sent: dict[str, list[str]] = {}
    for module in ("push", "results"):
        monkeypatch.setattr(
            f"skindiff.hub.{module}.push_files", lambda files, *_, **__: sent.update({kind: sorted(files)})
        )
    for kind in ("run", "pipeline"):
        folder = tmp_path / kind
        shutil.copytree(artefacts[kind], folder)
        (folder / "pictures").mkdir(exist_ok=True)
        shutil.copyfile(
            artefacts["run"] / "pictures" / "training.png", folder / "pictures" / "training-2.png"
        )
        (folder / "patients.json").write_text("{}")
        push(kind, folder)
    assert [name for name in sent["run"] if name.startswith("pictures/")] == [
        "pictures/samples.png",
        "pictures/training.png",
    ]
    assert "patients.json" not in sent["run"] + sent["pipeline"]
    assert "unet/config.json" in sent["pipeline"]
