"""Classifiers, and a program that trains one in processes of its own (``python -m``)."""

import argparse
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from accelerate import Accelerator
from datasets import Dataset
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from skindiff.classification import fine_tuning
from skindiff.classification.fine_tuning import (
    ClassifierConfig,
    published_settings,
    train_classifier,
)
from skindiff.classification.networks import (
    Architecture,
    build_classifier,
    load_classifier,
)
from skindiff.classification.prediction import predict
from skindiff.corpora.image_table import ImageTable
from skindiff.corpora.schema import SKIN_TYPES, corpus_features
from skindiff.errors import ConfigError, TrainingError
from skindiff.seeding import numpy_generator
from skindiff.training.augmentation import working_size
from skindiff.training.checkpoints import newest_checkpoint
from skindiff.training.loop_config import LoopConfig
from tests.training.test_loop_processes import REPOSITORY, TWO_PROCESSES

CLASSES = ("dots", "stripes", "plain")
SIZE = 32
CONFIG = ClassifierConfig(
    architecture="test_resnet",
    image_size=SIZE,
    loop=LoopConfig(steps=40, batch_size=16, learning_rate=3e-3, validate_every=10, lr_schedule="cosine"),
)
SEED = 7


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def picture(label: int, key: int, size: int = SIZE) -> np.ndarray:
    random = numpy_generator("picture", label, key)
    image = np.full((size, size, 3), random.uniform(60, 200, 3)) + random.normal(0, 8, (size, size, 3))
    if label == 0:
        for y, x in random.integers(0, size - 4, (6, 2)):
            image[y : y + 4, x : x + 4] -= 60
    elif label == 1:
        image[:, ::4] -= 60
        image[:, 1::4] -= 60
    return image.clip(0, 255).astype(np.uint8)


def table(counts: tuple[int, ...], start: int = 0, size: int = SIZE) -> ImageTable:
    labels = np.repeat(np.arange(len(counts)), counts)
    return ImageTable(
        np.stack([picture(label, start + row, size) for row, label in enumerate(labels)]),
        labels,
        tuple(SKIN_TYPES[row % 6] for row in range(len(labels))),
        CLASSES,
    )


@pytest.fixture(scope="module")
def train_set() -> ImageTable:
    return table((40, 24, 12))


@pytest.fixture(scope="module")
def held_out() -> ImageTable:
    return table((12, 12, 12), start=1000)


def as_dataset(images: ImageTable) -> Dataset:
    rows = range(len(images))
    columns = {
        "image": [Image.fromarray(pixels) for pixels in images.pixels],
        "label": images.labels.tolist(),
        "skin_type": list(images.values),
        "image_id": [str(row) for row in rows],
        "group_id": [str(row) for row in rows],
        "corpus": ["toy" for _ in rows],
    }
    return Dataset.from_dict(columns, features=corpus_features(images.class_names))


def test_it_learns_selects_and_comes_back(accelerator, train_set, held_out, tmp_path):
    validation = table((8, 8, 8), start=2000)
    model = train_classifier(accelerator, CONFIG, train_set, validation, CLASSES, tmp_path, SEED)
    probabilities = predict(accelerator, model, held_out)
    assert probabilities.shape == (36, 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert balanced_accuracy_score(held_out.labels, probabilities.argmax(1)) > 0.8
    log = json.loads((tmp_path / "training_log.json").read_text())
    assert len(log) == CONFIG.loop.steps
    validated = {row["step"]: row["validation_balanced_accuracy"] for row in log if "validation_loss" in row}
    assert list(validated) == [10, 20, 30, 40]
    chosen = predict(accelerator, model, validation).argmax(1)
    assert balanced_accuracy_score(validation.labels, chosen) == pytest.approx(max(validated.values()))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classifier.json",
        "classifier.safetensors",
        "training_log.json",
    ]
    again = load_classifier(tmp_path)
    assert again.architecture == model.architecture
    assert np.array_equal(predict(accelerator, again, held_out), probabilities)
    plain = timm.create_model("test_resnet", num_classes=3)
    plain.load_state_dict(load_file(tmp_path / "classifier.safetensors"))


def test_the_best_validated_weights_are_kept(accelerator, train_set, held_out, tmp_path, monkeypatch):
    scores = iter([0.1, 0.9, 0.9, 0.2])
    weights = []

    def scored(accelerator, model, judged):
        weights.append(model.network.conv1[0].weight.detach().clone())
        return {"validation_loss": 1.0, "validation_balanced_accuracy": next(scores)}

    monkeypatch.setattr(fine_tuning, "validation_scores", scored)
    model = train_classifier(accelerator, CONFIG, train_set, held_out, CLASSES, tmp_path, SEED)
    assert torch.equal(model.network.conv1[0].weight, weights[1])  # the first of two equals
    assert not torch.equal(weights[1], weights[2])


def test_without_validation_the_last_weights_stay(accelerator, train_set, tmp_path):
    short = replace(CONFIG, keep_weights=False, loop=replace(CONFIG.loop, steps=3))
    model = train_classifier(accelerator, short, train_set, None, CLASSES, tmp_path, SEED)
    start = build_classifier(model.architecture, pretrained=False, weights=None, seed=SEED)
    for (name, parameter), before in zip(model.named_parameters(), start.parameters(), strict=True):
        assert not torch.equal(parameter, before), name
    assert [path.name for path in tmp_path.iterdir()] == ["training_log.json"]


def test_every_arm_takes_the_same_steps(accelerator, train_set, tmp_path):
    config = replace(CONFIG, loop=replace(CONFIG.loop, steps=4))
    for name, images in {
        "real": train_set,
        "real+syn": train_set.select([*range(len(train_set)), *range(len(train_set))]),
    }.items():
        train_classifier(accelerator, config, images, None, CLASSES, tmp_path / name, SEED)
        assert len(json.loads((tmp_path / name / "training_log.json").read_text())) == 4


class Crash(Exception):
    pass


def test_interrupted_equals_uninterrupted(accelerator, train_set, held_out, tmp_path, monkeypatch):
    config = replace(CONFIG, loop=replace(CONFIG.loop, steps=20, validate_every=5, checkpoint_every=4))
    arguments = (train_set, held_out, CLASSES)
    train_classifier(accelerator, config, *arguments, tmp_path / "whole", SEED)
    sampler, taken = fine_tuning._sampler, []

    def crashing(*args):
        sample = sampler(*args)

        def crash(step):
            taken.append(step)
            if step == 11:  # after a validation that no checkpoint knows of
                raise Crash
            return sample(step)

        return crash

    with monkeypatch.context() as patch:
        patch.setattr(fine_tuning, "_sampler", crashing)
        with pytest.raises(Crash):
            train_classifier(accelerator, config, *arguments, tmp_path / "cut", SEED)
    assert newest_checkpoint(tmp_path / "cut").name == "checkpoint-8"
    train_classifier(accelerator, config, *arguments, tmp_path / "cut", SEED)
    for name in ("classifier.safetensors", "classifier.json", "training_log.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name


def test_a_checkpoint_of_other_images_is_refused(accelerator, train_set, held_out, tmp_path, monkeypatch):
    config = replace(CONFIG, loop=replace(CONFIG.loop, steps=4, checkpoint_every=2))
    monkeypatch.setattr(fine_tuning, "_finish", lambda *args: None)
    train_classifier(accelerator, config, train_set, None, CLASSES, tmp_path, SEED)
    with pytest.raises(TrainingError, match="context"):
        train_classifier(accelerator, config, held_out, None, CLASSES, tmp_path, SEED)


def test_head_only_training_leaves_the_rest(accelerator, train_set, tmp_path):
    config = replace(CONFIG, trainable="head", loop=replace(CONFIG.loop, steps=3))
    model = train_classifier(accelerator, config, train_set, None, CLASSES, tmp_path, SEED)
    start = build_classifier(model.architecture, pretrained=False, weights=None, seed=SEED)
    moved = {
        name
        for name, tensor in model.state_dict().items()
        if not torch.equal(tensor, start.state_dict()[name])
    }
    assert moved == {"network.fc.weight", "network.fc.bias"}  # the statistics of frozen batch norms too


def test_the_paper_preset_is_the_published_protocol(accelerator, train_set, held_out, tmp_path):
    config = published_settings(
        ClassifierConfig(preset="published", architecture="vgg16"), rows=1519, processes=2
    )
    loop = config.loop
    assert (loop.steps, loop.batch_size * 2, loop.validate_every) == (30 * 6, 256, 6)
    assert (loop.optimiser, loop.learning_rate, loop.lr_schedule) == ("adam", 1e-3, "step_third")
    assert (loop.weight_decay, loop.max_grad_norm, loop.warmup_steps) == (0, 0, 0)
    assert loop.schedule_lead == loop.validate_every
    own = ClassifierConfig(preset="published", loop=LoopConfig(global_batch_size=32))
    assert published_settings(own, rows=1519, processes=2).loop == loop
    assert (config.balance, config.augment, config.trainable) == ("class", "published", "head")
    with pytest.raises(ConfigError, match="power of two"):
        published_settings(config, rows=1519, processes=3)
    with torch.device("meta"):
        architecture = Architecture("vgg16", 224, tuple("abcdefg"), head="published", dropout=0.5)
        model = build_classifier(architecture, pretrained=False, weights=None, seed=0)
    assert sum(weight.numel() for weight in model.head_parameters()) == 4096 * 256 + 256 + 256 * 7 + 7
    dropouts = [part.p for part in model.modules() if isinstance(part, nn.Dropout)]
    assert dropouts == [0.5, 0.5, 0.4]
    # And it runs, selecting the lowest loss from the eleventh epoch on.
    short = replace(CONFIG, preset="published", published_epochs=13)
    trained = train_classifier(
        accelerator, short, train_set.select(range(0, 76, 4)), held_out, CLASSES, tmp_path, 0
    )
    log = json.loads((tmp_path / "training_log.json").read_text())
    assert len(log) == 13
    chosen = predict(accelerator, trained, held_out)
    loss = -np.log(chosen[np.arange(36), held_out.labels].astype(np.float64)).mean()
    assert loss == pytest.approx(min(row["validation_loss"] for row in log[10:]), rel=1e-5)


def test_predictions_do_not_depend_on_their_neighbours(accelerator, held_out):
    architecture = Architecture("test_vit", SIZE, CLASSES)
    model = build_classifier(architecture, pretrained=False, weights=None, seed=0)
    whole = predict(accelerator, model, held_out, batch_size=16)
    assert np.array_equal(predict(accelerator, model, held_out.select([20]), batch_size=16)[0], whole[20])
    assert np.array_equal(predict(accelerator, model, as_dataset(held_out), batch_size=16), whole)
    assert predict(accelerator, model, held_out.select([]), batch_size=16).shape == (0, 3)


def test_images_of_another_size_are_resampled(accelerator, train_set, tmp_path):
    config = replace(CONFIG, loop=replace(CONFIG.loop, steps=1), augment="published")
    images = table((2, 2, 2), size=48)
    model = train_classifier(accelerator, config, as_dataset(images), None, CLASSES, tmp_path, SEED)
    assert predict(accelerator, model, train_set).shape == (76, 3)
    assert images.resized(working_size(SIZE, "published")).pixels.shape == (6, 36, 36, 3)
    flat = ImageTable(np.full((1, 50, 40, 3), 77, np.uint8), np.zeros(1, np.int64), (None,), CLASSES)
    assert (flat.resized(16).pixels == 77).all()


def test_classes_must_agree(accelerator, train_set, tmp_path):
    with pytest.raises(TrainingError, match="build every table from one sequence"):
        train_classifier(accelerator, CONFIG, train_set, None, CLASSES[::-1], tmp_path, SEED)
    with pytest.raises(TrainingError, match="training set is empty"):
        train_classifier(accelerator, CONFIG, train_set.select([]), None, CLASSES, tmp_path, SEED)
    with pytest.raises(TrainingError, match="validation set is empty"):
        train_classifier(accelerator, CONFIG, train_set, train_set.select([]), CLASSES, tmp_path, SEED)


def test_one_class_alone_is_nothing_to_tell_apart(accelerator, train_set, tmp_path):
    alone = train_set.select(np.flatnonzero(train_set.labels == 0))
    alone = replace(alone, class_names=alone.class_names[:1])
    with pytest.raises(TrainingError, match="is the only class, and there is nothing to tell apart"):
        train_classifier(accelerator, CONFIG, alone, None, alone.class_names, tmp_path, 0)


def test_a_missing_class_is_said(accelerator, train_set, tmp_path, caplog):
    config = replace(CONFIG, loop=replace(CONFIG.loop, steps=1))
    train_classifier(accelerator, config, train_set.select(range(64)), None, CLASSES, tmp_path, SEED)
    assert "no training image of plain" in caplog.text


def launch(folder: Path, config: ClassifierConfig, *options: str, launcher: tuple[str, ...] = ()) -> int:
    command = [sys.executable, *launcher, "-m", "tests.classification.test_fine_tuning", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    options = (json.dumps(asdict(config)), *options)
    return subprocess.run([*command, *options], cwd=REPOSITORY, env=environment, check=False).returncode


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(accelerator, train_set, tmp_path):
    config = replace(CONFIG, loop=replace(CONFIG.loop, steps=12, validate_every=3, checkpoint_every=4))
    judged = table((4, 4, 4), start=3000)
    train_classifier(accelerator, config, train_set, judged, CLASSES, tmp_path / "whole", SEED)
    assert launch(tmp_path / "cut", config, "--kill_at_step", "10") == -9
    assert newest_checkpoint(tmp_path / "cut").name == "checkpoint-8"
    train_classifier(accelerator, config, train_set, judged, CLASSES, tmp_path / "cut", SEED)
    for name in ("classifier.safetensors", "classifier.json", "training_log.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name


@pytest.mark.slow
def test_two_processes_follow_one_without_batch_norm(accelerator, train_set, tmp_path):
    config = replace(CONFIG, architecture="test_vit", loop=replace(CONFIG.loop, steps=8))
    judged = table((4, 4, 4), start=3000)
    train_classifier(accelerator, config, train_set, judged, CLASSES, tmp_path / "one", SEED)
    halved = replace(config, loop=replace(config.loop, batch_size=8))
    assert launch(tmp_path / "two", halved, launcher=TWO_PROCESSES) == 0
    one, two = (
        [row["loss"] for row in json.loads((tmp_path / name / "training_log.json").read_text())]
        for name in ("one", "two")
    )
    assert two == pytest.approx(one, rel=1e-4)
    chosen = [predict(accelerator, load_classifier(tmp_path / name), judged) for name in ("one", "two")]
    np.testing.assert_allclose(chosen[1], chosen[0], atol=1e-3)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("config", type=json.loads)
    parser.add_argument("--kill_at_step", type=int, default=-1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    loop = LoopConfig(**args.config.pop("loop"))
    config = ClassifierConfig(**args.config, loop=loop)
    sampler = fine_tuning._sampler

    def killing(*arguments):
        sample = sampler(*arguments)

        def kill(step: int) -> np.ndarray:
            if step == args.kill_at_step:
                os.kill(os.getpid(), signal.SIGKILL)
            return sample(step)

        return kill

    fine_tuning._sampler = killing
    sets = (table((40, 24, 12)), table((4, 4, 4), start=3000))
    train_classifier(Accelerator(cpu=True), config, *sets, CLASSES, args.folder, SEED)


if __name__ == "__main__":
    main()
