"""What every family of class-conditional generators must keep; a family joins by standing in the table."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from skindiff.errors import ConfigError, GeneratorError, SynthesisError, TrainingError
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.families import (
    FAMILIES,
    SAMPLER_COLUMNS,
    Family,
    family_of_pipeline,
    find_family,
    imported,
    register_family,
)
from skindiff.generators.resolve import load
from skindiff.synthesis.class_plan import make_class_plan
from skindiff.synthesis.writer import load_synthetic
from tests.conftest import REPOSITORY
from tests.generators.family_draws import SETTINGS, draw_plan, plan, sources
from tests.tiny_generators import CLASSES, tiny_settings, tiny_table
from tests.toy_family import TOY
from tests.training.test_loop_processes import TWO_PROCESSES

every_family = pytest.mark.parametrize("name", [*FAMILIES, TOY.name])


@pytest.fixture(scope="module", autouse=True)
def _toy_and_one_thread() -> Iterator[None]:
    register_family(TOY)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    del FAMILIES[TOY.name]


@dataclass
class Trained:
    """A family's pipeline as its trainer returned it, and where it was saved."""

    pipeline: ClassConditionalPipeline
    folder: Path

    def draw(self, labels: list[int | str], seeds: list[int], **options: object) -> torch.Tensor:
        """Draw images of seeds; a family that re-draws is shown for each seed the picture of that seed."""
        if self.pipeline.needs_images:
            size, channels = self.pipeline.config.image_size, self.pipeline.config.channels
            shapes = [(channels, size, size)] * len(seeds)
            pictures = [
                torch.rand(shape, generator=torch.Generator().manual_seed(seed))
                for shape, seed in zip(shapes, seeds, strict=True)
            ]
            options["images"] = torch.stack(pictures) * 2 - 1
        if "steps" in find_family(self.pipeline.family).sampler:
            options = {"steps": 2, **options}
        keys = [torch.Generator().manual_seed(seed) for seed in seeds]
        return self.pipeline(labels, generator=keys, **{"output_type": "pt", **options}).images


def train(name: str, folder: Path, labels: tuple[int, ...] = (0, 1)) -> ClassConditionalPipeline:
    settings = tiny_settings(name)
    table = tiny_table(12, 16, grey=settings.channels == 1)
    kept = np.isin(table.labels, labels)
    table = replace(table, pixels=table.pixels[kept], labels=table.labels[kept], values=(None,) * kept.sum())
    return imported(find_family(name).trainer)(Accelerator(cpu=True), settings, table, folder / name, 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """Trains a family once and returns it."""
    home, done = tmp_path_factory.mktemp("families"), {}

    def of(name: str) -> Trained:
        if name not in done:
            done[name] = Trained(train(name, home), home / name)
        return done[name]

    return of


@every_family
def test_the_table_says_what_its_parts_are(name: str, trained: Callable[[str], Trained]) -> None:
    family, pipeline = find_family(name), trained(name).pipeline
    assert type(pipeline) is imported(family.pipeline)
    assert pipeline.family == name
    assert any(type(part) is imported(family.network) for part in pipeline.components.values())
    assert family_of_pipeline(type(pipeline).__name__) is family
    log = json.loads((trained(name).folder / "training_log.json").read_text())
    assert log[-1]["step"] >= 1
    tiny_settings(name).validate()
    with pytest.raises(ConfigError, match=r"gen\.channels"):
        replace(tiny_settings(name), channels=2).validate("gen.")


@every_family
def test_images_have_their_shape_and_range_and_follow_their_own_seed(
    name: str, trained: Callable[[str], Trained]
) -> None:
    one = trained(name)
    images = one.draw([0, 1, 1], [1, 2, 3])
    size, channels = one.pipeline.config.image_size, one.pipeline.config.channels
    assert (size, channels) == (tiny_settings(name).image_size, tiny_settings(name).channels)
    assert images.shape == (3, channels, size, size)
    assert images.dtype == torch.float32
    assert 0 <= images.min() < images.max() <= 1
    assert torch.equal(one.draw([0, 1, 1], [1, 2, 3]), images)
    mates = one.draw([1, 1, 0], [8, 2, 9])
    assert torch.equal(mates[1], images[1])
    torch.testing.assert_close(one.draw([1], [2])[0], images[1], atol=1e-5, rtol=0)
    assert not torch.allclose(images[1], images[2], atol=1e-6)
    pil = one.draw([0], [1], output_type="pil")
    assert (pil[0].size, pil[0].mode) == ((size, size), "L" if channels == 1 else "RGB")


@every_family
def test_classes_keep_the_order_of_the_corpus(name: str, trained: Callable[[str], Trained]) -> None:
    one = trained(name)
    assert tuple(one.pipeline.config.class_names) == CLASSES
    assert tuple(load(one.folder / "pipeline").config.class_names) == CLASSES
    by_name, by_code = one.draw(["two", "one"], [1, 2]), one.draw([1, 0], [1, 2])
    assert torch.equal(by_name, by_code)
    # What re-draws keeps the class of what it is shown.
    assert torch.equal(one.draw([0], [1]), one.draw([1], [1])) == one.pipeline.needs_images
    with pytest.raises(GeneratorError, match=r"class_labels: 2 is no class .*use 0 to 1 or one of one, two"):
        one.draw([2], [1])


@every_family
def test_a_class_without_images_is_refused_or_re_drawn_from_none(
    name: str, trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    pipeline = trained(name).pipeline
    if not pipeline.needs_images:
        with pytest.raises(TrainingError, match="no training image of two"):
            train(name, tmp_path, labels=(0,))
    else:
        train(name, tmp_path, labels=(0,))
        with pytest.raises(SynthesisError, match="there is none of 'two': give it no budget"):
            make_class_plan(
                sources(pipeline).select([0, 2]), SETTINGS, seed=1, family=name, generator="x@0", redraws=True
            )
    only = plan(pipeline, replace(SETTINGS, table={"two": 2}))
    assert only["label"] == [1, 1]


@every_family
def test_a_plan_records_what_the_sampler_takes_and_refuses_the_rest(
    name: str, trained: Callable[[str], Trained]
) -> None:
    family, pipeline = find_family(name), trained(name).pipeline
    row = plan(pipeline)[0]
    for column in SAMPLER_COLUMNS:
        assert row[column] == (getattr(SETTINGS, column) if column in family.sampler else None)
    named = inspect.signature(pipeline.draw).parameters
    takes = {key for key, kind in named.items() if kind.kind is inspect.Parameter.KEYWORD_ONLY} - {"images"}
    assert takes == set(family.sampler)
    with pytest.raises(ConfigError, match=rf"s\.options\.{name}: 'colour' is unknown; this family takes "):
        replace(SETTINGS, options={name: {"colour": 1.0}}).validate("s.")
    with pytest.raises(TypeError, match="colour"):
        trained(name).draw([0], [1], colour=1.0)


@pytest.mark.slow
def test_what_is_saved_draws_the_same_in_two_new_processes(
    trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    for name in FAMILIES:
        folder = trained(name).folder
        assert not [path for path in folder.glob("pipeline/**/*") if path.suffix in (".bin", ".pt", ".pkl")]
        draw_plan(Accelerator(cpu=True), trained(name).pipeline, tmp_path / "here" / name)
    command = [sys.executable, *TWO_PROCESSES, "-m", "tests.generators.family_draws"]
    finished = subprocess.run(
        [*command, str(trained("ddpm").folder.parent), str(tmp_path / "there")],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    for name in FAMILIES:
        here, there = (sorted((tmp_path / place / name).glob("*.parquet")) for place in ("here", "there"))
        assert len(here) == 4
        assert [path.name for path in here] == [path.name for path in there]
        assert [path.read_bytes() for path in here] == [path.read_bytes() for path in there], name
        assert load_synthetic(tmp_path / "there" / name)["label"] == [0] * 3 + [1] * 4


@pytest.mark.parametrize(("changes", "says"), [
    ({"name": "ddpm"}, "family: the name 'ddpm' is taken"),
    ({"name": "lora"}, "family: the name 'lora' is taken"),
    ({"name": "My-Toy"}, "family: 'My-Toy' is no name; use lower case"),
    ({"name": "toys"}, "pipeline of family 'toys': 'toy' has a class of this name"),
    ({"name": "toys", "trainer": "train"}, "trainer of family 'toys': 'train' names nothing"),
])  # fmt: skip
def test_a_family_that_cannot_stand_in_the_table_is_named(changes: dict[str, str], says: str) -> None:
    before = dict(FAMILIES)
    with pytest.raises(ConfigError, match=says):
        register_family(replace(TOY, **changes))
    assert before == FAMILIES


def test_an_unknown_family_or_part_is_an_error_and_not_another_family() -> None:
    with pytest.raises(ConfigError, match=r"recipe\.families: 'vqvae' is not one of cvae_resnet, .*, toy$"):
        find_family("vqvae", "recipe.families")
    with pytest.raises(GeneratorError, match=r"tests\.toy_family:train cannot be imported"):
        imported("tests.toy_family:train")
    assert family_of_pipeline("FluxPipeline") is None


def test_the_table_is_light() -> None:
    code = (
        "import sys, skindiff.generators.families; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
    assert all(isinstance(getattr(TOY, item.name), (str, tuple)) for item in fields(Family))
