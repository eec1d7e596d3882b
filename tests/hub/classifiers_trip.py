"""Classifiers: pushed, loaded by timm and by us, and compared by what they say."""

import json
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import ModelCard
from PIL import Image

from skindiff.classification.networks import Architecture, build_classifier, save_classifier
from tests.hub.server import Hub

CLASSES = ("benign", "malignant | unsure")
ARCHITECTURES = {
    "resnet": Architecture("resnet10t", 32, CLASSES),
    "vit": Architecture("test_vit", 64, CLASSES, dropout=0.1, augment="published"),
    "grey": Architecture("medmnist_cnn", 28, CLASSES, channels=1),
    "probe": Architecture("lite0", 64, CLASSES, corpus_size=32),
}
PUSH = """
    from skindiff.hub.origin import Origin
    from skindiff.hub.push import push_classifier
    for name in ("resnet", "vit", "grey", "probe"):
        origin = Origin(corpora=["medmnist/breastmnist"])
        push_classifier(f"run/{name}", f"me/{name}", licence="cc-by-4.0", origin=origin)
"""
LOAD = """
    import numpy as np
    import timm
    import torch
    from skindiff.hub.load import load_classifier
    import skindiff.classification.small_cnns

    found = {}
    shapes = {"resnet": (3, 32), "vit": (3, 64), "grey": (1, 28), "probe": (3, 64)}
    for name, (channels, size) in shapes.items():
        model = timm.create_model(f"hf-hub:me/{name}", pretrained=True).eval()
        data = timm.data.resolve_model_data_config(model)
        assert data["input_size"] == (channels, size, size), data
        images = torch.from_numpy(np.load("images.npz")[name])
        mean, std = (torch.tensor(data[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
        with torch.no_grad():
            found[name] = model((images[:, :channels] - mean) / std).numpy()
            found[f"{name} ours"] = load_classifier(f"me/{name}")(images).numpy()
    np.savez("logits.npz", **found)
    run_the_card("me/resnet"), run_the_card("me/vit")
"""


def build(folder: Path) -> None:
    """Make a network of timm's, one of fixed size and one of ours on grey images, and what they say."""
    said, images = {}, {}
    for name, architecture in ARCHITECTURES.items():
        model = build_classifier(architecture, pretrained=False, weights=None, seed=1).eval()
        with torch.no_grad():
            for part in model.modules():
                if isinstance(part, torch.nn.BatchNorm2d):  # as after training: not the start's 0 and 1
                    part.running_mean.add_(0.1)  # type: ignore[union-attr]
            save_classifier(folder / "run" / name, model)
            shown = torch.rand(4, 3, architecture.image_size, architecture.image_size)
            said[name], images[name] = model(shown).numpy(), shown.numpy()
    np.savez(folder / "images.npz", **images)
    np.savez(folder / "expected.npz", **said)
    Image.new("RGB", (80, 60), (180, 120, 100)).save(folder / "lesion.png")


def check(hub: Hub, folder: Path, said: str) -> None:
    """See that what came back says the same, and that its files and card are timm's."""
    logits, expected = np.load(folder / "logits.npz"), np.load(folder / "expected.npz")
    for name in ARCHITECTURES:
        np.testing.assert_allclose(logits[name], expected[name], atol=1e-5)
        np.testing.assert_allclose(logits[f"{name} ours"], expected[name], atol=1e-5)
    assert said.count("'malignant | unsure': ") == 2
    files = hub.files("model", "me/vit")
    assert sorted(files) == ["README.md", "classifier.json", "config.json", "model.safetensors"]
    config = json.loads(files["config.json"])
    assert config["label_names"] == list(CLASSES)
    assert config["pretrained_cfg"]["crop_pct"] == 0.875
    card = ModelCard(files["README.md"].decode())
    assert (card.data.library_name, card.data.pipeline_tag) == ("timm", "image-classification")
    assert "MedMNIST, breastmnist, licence `cc-by-4.0`" in card.text
    probe = hub.files("model", "me/probe")["README.md"].decode()
    assert "A linear probe on a frozen lite0, fitted on images of 32 x 32 px enlarged, that tells 2" in probe
