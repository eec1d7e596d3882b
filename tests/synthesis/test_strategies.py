"""What the six strategies learn and draw, and what they share within a split."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import skindiff
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError
from skindiff.generators.adapter import read_adapter
from skindiff.generators.models import model_revision
from skindiff.generators.resolve import Place
from skindiff.study import Study
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.strategies import (
    STRATEGIES,
    FurtherGenerator,
    GeneratorConfig,
    Synthetic,
    check_strategies,
    draw_transfers,
)
from skindiff.training import adapters
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig
from skindiff.training.textual_inversion import TextualInversionConfig
from tests.studies import make_study
from tests.tiny import TINY_CLASSES, save_tiny_pipeline, tiny_corpus

LOOP = LoopConfig(steps=2, batch_size=2, learning_rate=0.01)
SYNTHESIS = SynthesisConfig(images_per_source=1, steps=4, batch_size=4, tone="none")
TRAIN = tiny_corpus(6).select([0, 1, 2, 3])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class _Generator:
    """The generator of one split: what a strategy needs is learnt once, and its images are generated."""

    study: Study
    config: GeneratorConfig

    def learn(self, learnt: str) -> Place:
        study, base = self.study, Place(self.config.model)
        words = lora = base
        if "ti" in learnt.split("+"):
            trained = vars(self.config.textual_inversion)
            words = lora = skindiff.train_textual_inversion(
                study.corpus, study.split, base.model, None, study, **trained
            )
        if "lora" in learnt:
            lora = skindiff.train_lora(
                study.corpus, study.split, words, None, study, **vars(self.config.lora)
            )
        return lora

    def draw(self, strategy: str, config: SynthesisConfig) -> Synthetic:
        mode, learnt = strategy.split(" ")
        settings: Any = {"mode": mode}
        return draw_transfers(self.study, self.learn(learnt), replace(config, **settings))


def generator(folder: Path, model: Path, **changes: Any) -> _Generator:
    words = TextualInversionConfig(loop=LOOP, steps_per_condition=False, validation_examples=0)
    lora = LoRAConfig(loop=LOOP, rank=2, validation_examples=0)
    config = GeneratorConfig(str(model), textual_inversion=words, lora=lora)
    study = make_study(folder, tiny_corpus(6), Split(5, [0, 1, 2, 3], [4, 5], {}, {}, 0))
    return _Generator(replace(study, **changes), config)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the trainings, as they begin."""
    begun: list[str] = []

    def told(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            begun.append(name)
            return function(*arguments, **settings)

        return call

    for name in ("train_textual_inversion", "train_lora"):
        monkeypatch.setattr(adapters, name, told(name, getattr(adapters, name)))
    return begun


@pytest.mark.slow
def test_six_strategies_take_three_trainings(tmp_path: Path, model: Path, trained: list[str]) -> None:
    drawer = generator(tmp_path, model)
    drawn = {name: drawer.draw(name, SYNTHESIS) for name in STRATEGIES}
    # Words once; LoRA on words and LoRA on plain names are two.
    assert sorted(trained) == ["train_lora", "train_lora", "train_textual_inversion"]
    assert len({result.folder for result in drawn.values()}) == 6
    base = model_revision(str(model))
    assert {(result.name, result.label) for result in drawn.values()} == {(base, name) for name in STRATEGIES}
    for name, result in drawn.items():
        mode, learnt = name.split(" ")
        rows = result.dataset
        assert len(rows) == len(TRAIN)
        assert (set(rows["mode"]), set(rows["strategy"])) == ({mode}, {learnt})
        assert set(rows["generator"]) == {result.generator}
        assert (result.generator == base) == (learnt == "vanilla")
        words = "<skindiff-" in rows[0]["prompt"]
        assert words == ("ti" in learnt.split("+"))
        assert words or TINY_CLASSES[0] in rows[0]["prompt"]
        sources = set(TRAIN["image_id"]) if mode == "img2img" else {None}
        assert set(rows["source_id"]) == sources
        assert (result.adapter is not None and result.adapter.has_lora) == ("lora" in learnt)
        assert result.summary["planned"] == len(TRAIN)
    images = {name: result.dataset[0]["image"].tobytes() for name, result in drawn.items()}
    assert len(set(images.values())) == 6, "each strategy draws its own images"


def test_what_was_drawn_is_found_again_unless_something_changed(
    tmp_path: Path, model: Path, trained: list[str]
) -> None:
    first = generator(tmp_path, model).draw("img2img ti", SYNTHESIS)
    assert generator(tmp_path, model).draw("img2img ti", SYNTHESIS).folder == first.folder
    stronger = generator(tmp_path, model).draw("img2img ti", replace(SYNTHESIS, strength=0.6))
    assert stronger.folder != first.folder
    assert trained == ["train_textual_inversion"]
    other = generator(tmp_path, model, seed=6).draw("img2img ti", SYNTHESIS)
    assert other.generator != first.generator
    other_corpus = Corpus(tiny_corpus(6), [], [], "1")
    alike = generator(tmp_path, model, corpus=other_corpus).draw("img2img ti", SYNTHESIS)
    assert alike.folder != first.folder
    assert alike.generator == first.generator, "a generator goes by its weights"
    assert len(trained) == 3


def test_a_training_has_the_seed_asked_for_and_the_splits_where_none_is(tmp_path: Path, model: Path) -> None:
    drawer = generator(tmp_path, model)
    drawer.config.lora.loop = replace(LOOP, seed=7)
    folder = drawer.learn("ti+lora").adapter
    assert folder is not None
    adapter = read_adapter(folder)
    seeds = {stage: adapter.config[stage]["loop"]["seed"] for stage in ("textual_inversion", "lora")}
    assert seeds == {"textual_inversion": 5, "lora": 7}


def test_generators_of_one_study_go_by_their_names(tmp_path: Path, model: Path, trained: list[str]) -> None:
    first = generator(tmp_path, model).draw("img2img ti", SYNTHESIS)
    config = generator(tmp_path, model).config
    other = FurtherGenerator(textual_inversion=replace(config.textual_inversion, vectors=2)).beside(config)
    assert (other.model, other.lora, other.textual_inversion.vectors) == (config.model, config.lora, 2)
    study = generator(tmp_path, model).study
    drawer = _Generator(study, other)
    assert drawer.draw("img2img ti", SYNTHESIS).folder != first.folder
    words = drawer.learn("ti")
    settings = {**vars(SYNTHESIS), "mode": "img2img"}
    images = skindiff.transfer(words, study.corpus, seed=study.seed, output_dir=study, **settings)
    named = images.named("two vectors")
    assert (named.folder, named.drawn.label) == (images.folder, "img2img ti by two vectors")
    assert images.named(None) is images
    assert len(trained) == 2
    with pytest.raises(ConfigError, match=r"x\.revision: 'main' belongs to no model"):
        FurtherGenerator(revision="main").validate("x.")


def test_what_was_learnt_overrules_the_setting(tmp_path: Path, model: Path) -> None:
    drawn = generator(tmp_path, model).draw("img2img vanilla", replace(SYNTHESIS, strategy="lora"))
    assert set(drawn.dataset["strategy"]) == {"vanilla"}
    assert drawn.adapter is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["img2img lorra"], r"x: 'img2img lorra' is not one of txt2img vanilla"),
        ([], r"x: 'the list' is not one of"),
        (["img2img ti", "img2img ti"], r"x: .* names a strategy twice; name each once"),
    ],
)
def test_strategies_that_cannot_be_are_named(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_strategies(names, "x")
    check_strategies(list(STRATEGIES))


def test_settings_of_the_trainings_are_named_with_their_path() -> None:
    config = GeneratorConfig(lora=LoRAConfig(rank=0))
    with pytest.raises(ConfigError, match=r"generator\.lora\.rank is 0"):
        config.validate("generator.")
