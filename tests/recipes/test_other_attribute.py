"""A study in which not a skin type but a sex is scarce, from a folder of images to report, cards and demo."""

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
import yaml

import skindiff
from recipes.fitz_lora import FitzLoraConfig, main
from skindiff.classification.cells import load_cell
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.contrasts import PrimaryContrast
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.commands.sample import SampleCommand
from skindiff.config import parse_config
from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.imagefolder import ImageFolderConfig
from skindiff.corpora.phantom import render_phantom
from skindiff.corpora.registry import CorpusConfig
from skindiff.demo.asked import DrawRequest, TransferRequest
from skindiff.demo.captions import caption
from skindiff.demo.config import DemoConfig
from skindiff.demo.drawing import draw
from skindiff.demo.generator_cache import GeneratorCache
from skindiff.demo.pieces import ita_strip
from skindiff.demo.transferring import transfer
from skindiff.errors import ConfigError, GeneratorError, HubError
from skindiff.generators.adapter import read_adapter
from skindiff.generators.resolve import find_generator, load_generator
from skindiff.hub.cards import coverage_text
from skindiff.hub.origin import Origin, find_facts
from skindiff.hub.push import _adapter_card
from skindiff.hub.synthetic import _counts, _refuse_unknown_columns
from skindiff.report.read import read_report
from skindiff.synthesis.writer import load_synthetic
from tests.recipes.tiny_study import tiny_study

pytestmark = pytest.mark.slow  # one study, that all of these look at

SEX = Attribute(
    "sex",
    majority=["male"],
    minority=["female"],
    phrases={"male": "on the skin of a man", "female": "on the skin of a woman"},
    further=["age"],
    bands={"age": [0, 30, 60]},
)
ARMS = ["real", "syn", "real+syn", "real+duplicates"]
SMOKE = Path("recipes/fitz_lora/smoke.yaml")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 48 images of two classes, of men and women of two skin types and all ages."""
    folder = tmp_path_factory.mktemp("clinic")
    rows = []
    for name in ("nodule", "ring"):
        (folder / name).mkdir()
        for number in range(24):
            kind = ("II", "V")[number // 2 % 2]
            file = f"{name}/{number:02d}.png"
            PIL.Image.fromarray(render_phantom(kind, name, 32, file).pixels).save(folder / file)
            sex = "male" if number % 2 else "female"
            rows.append((file, kind, f"patient-{name}-{number}", sex, 10 + 3 * number))
    with (folder / "metadata.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([("file_name", "skin_type", "group_id", "sex", "age"), *rows])
    return folder


@pytest.fixture(scope="module")
def study(clinic: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> FitzLoraConfig:
    """The config of a study that has run from beginning to end."""
    corpus = CorpusConfig("imagefolder", 32, audit=False, attribute=SEX)
    corpus.imagefolder = ImageFolderConfig(str(clinic))
    config = tiny_study(tmp_path_factory.mktemp("sexes") / "run", model, corpus=corpus)
    config.generator.textual_inversion.mention_tone = True
    loop = config.experiment.classifier.loop
    config.experiment = ExperimentConfig(
        arms=ARMS,
        architectures=["test_resnet"],
        classifier=ClassifierConfig(image_size=32, loop=loop),
        primary=PrimaryContrast(test_group="minority"),
        bootstrap_replicates=100,
    )
    before = torch.get_num_threads()
    config.validate()
    main(config)
    torch.set_num_threads(before)
    return config


@pytest.fixture(scope="module")
def report(study: FitzLoraConfig) -> Any:
    return read_report(Path(study.output_dir))


@pytest.fixture(scope="module")
def adapter(study: FitzLoraConfig) -> Path:
    (found,) = Path(study.output_dir).glob("stages/lora-*/adapter")
    return found


def test_images_are_split_and_transferred_by_it(study: FitzLoraConfig, report: Any) -> None:
    folder = Path(study.output_dir)
    cells = [load_cell(path) for path in folder.glob("stages/cell-*/minority.npz")]
    assert {cell.key.arm for cell in cells} == set(ARMS)
    for cell in cells:
        assert set(cell.attributes["sex"]) == {"female"}
        assert set(cell.skin_types) == {"II", "V"}
        assert len(cell.attributes["age"]) == len(cell.labels)
    drawn = load_synthetic(next(folder.glob("stages/synthesis-*/data")))
    assert (set(drawn["sex"]), set(drawn["source_sex"])) == ({"female"}, {"male"})
    assert list(drawn["skin_type"]) == list(drawn["source_skin_type"])
    assert all(prompt.endswith("> on the skin of a woman") for prompt in drawn["prompt"])
    assert set(drawn["tone"]) == {"none"}
    assert [row["sizes"].keys() for row in report["splits"]] == [{"train", "validation", "test_minority"}]


def test_the_report_is_about_it(study: FitzLoraConfig, report: Any) -> None:
    assert report["attribute"] == asdict(SEX)
    assert report["title"] == "Transfer by sex: does it help the minority?"
    assert (report["skin_tone"], report["published"]) == (None, [])
    assert set(report["lesion"]) == {"img2img ti+lora"}
    assert {row["test_group"] for row in report["results"]} == {"minority"}
    for row in report["results"]:
        assert set(row["per_group_recall"]) == {"sex", "age"}
        assert set(row["per_group_recall"]["sex"]) == {"female"}
    chapters = [report["fairness"], *report["fairness_by"]]
    assert [one["settings"].get("by", ["skin_type"]) for one in chapters] == [
        ["sex"], ["age"], ["skin_type"], ["sex", "age"], ["sex", "skin_type"],
    ]  # fmt: skip
    assert report["fairness"]["settings"]["disadvantaged"] == ["female"]
    crossed = chapters[-1]["populations"][0]
    assert crossed["groups"] == ["female, type II", "female, type V"]
    hidden = {name: one["suppressed"] for name, one in crossed["arms"][0]["groups"].items()}
    assert hidden == {name: one["patients"] < 10 for name, one in crossed["arms"][0]["groups"].items()}
    text = (Path(study.output_dir) / "report.md").read_text()
    for said in ("By sex:", "By sex and skin type:", "gap between male and female is not shown"):
        assert said in text
    assert "## Skin tone" not in text


def test_the_prompts_of_training_named_it(adapter: Path) -> None:
    read = read_adapter(adapter)
    assert read.attribute == SEX
    assert yaml.safe_load((adapter / "config.yaml").read_text())["attribute"]["column"] == "sex"


def test_a_notebook_generates_by_it(adapter: Path, model: Path) -> None:
    generator = load_generator(find_generator(str(adapter), base_model=str(model)))
    made = skindiff.generate(generator, ["nodule"], images=1, steps=2)
    assert list(made.dataset["sex"]) == ["male", "female"]
    assert made.dataset[1]["prompt"].endswith("on the skin of a woman")
    with pytest.raises(ConfigError, match="targets: 'V' is none of the values of sex male, female"):
        skindiff.generate(generator, ["nodule"], ["V"], images=1, steps=2)


def test_cards_say_it(study: FitzLoraConfig, adapter: Path) -> None:
    origin = Origin(corpora=["imagefolder"], corpus_licence="cc-by-4.0")
    facts = find_facts(origin, Path(study.output_dir), "cc-by-4.0")
    told = coverage_text(facts)
    assert "majority sex male; minority sex female" in told
    assert "Recall of the tested classifiers by sex" in told
    read = read_adapter(adapter)
    card = _adapter_card("me/it", read, find_facts(replace(origin, base_model="me/base"), adapter, "mit"))
    assert card.what.endswith("Its prompts name the sex: male, female.")
    assert "on the skin of a woman" in card.usage


def test_pushed_images_keep_its_columns_and_no_others(study: FitzLoraConfig) -> None:
    drawn = load_synthetic(next(Path(study.output_dir).glob("stages/synthesis-*/data")))
    _refuse_unknown_columns(drawn)
    assert "Images by class and the sex that was asked for" in _counts(drawn, ["nodule", "ring"])
    named = drawn.add_column("patient", ["x"] * len(drawn))
    with pytest.raises(HubError, match="the column 'patient' is not a column"):
        _refuse_unknown_columns(named)


def test_the_demo_offers_it(adapter: Path, model: Path, clinic: Path) -> None:
    cache = GeneratorCache(DemoConfig(generators=[str(adapter)], adapter_base=str(model)))
    (name,) = cache.offered
    assert cache.attribute(name) == SEX
    *_, done = draw(cache, DrawRequest(name, ("nodule",), ("female",), count=1, steps=2))
    (picture,) = done.pictures
    assert picture.row["prompt"].endswith("on the skin of a woman")
    assert (picture.row["sex"], picture.row["skin_type"]) == ("female", None)
    assert caption(picture).startswith("female · nodule · ITA")
    pixels = render_phantom("II", "ring", 32, "demo").pixels
    *_, done = transfer(cache, TransferRequest(pixels, name, "ring", strengths=(0.5,), steps=4))
    assert [picture.row["sex"] for picture in done.pictures] == ["male", "female"]
    assert {picture.row["tone"] for picture in done.pictures} == {"none"}
    assert "<svg" not in ita_strip(done.pictures[0], done.pictures)
    with pytest.raises(GeneratorError, match=r"sex 'V' is none that .* knows; choose one of male, female"):
        list(draw(cache, DrawRequest(name, ("nodule",), ("V",), count=1, steps=2)))


def asked(*words: str) -> FitzLoraConfig:
    sex = ["--corpus.attribute", json.dumps(asdict(SEX)), "--experiment.arms", json.dumps(ARMS)]
    primary = ["--experiment.primary.test_group", "minority"]
    return parse_config(FitzLoraConfig, [*sex, *primary, *words], default=SMOKE)


def test_settings_that_contradict_it_are_refused() -> None:
    drawings = [drawing for _, _, drawing in asked().generators()]
    assert [(one.targets, one.tone) for one in drawings] == [(["female"], "none")]
    with pytest.raises(
        ConfigError, match=r"^synthesis.targets: 'male' is not in corpus.attribute.minority \(fem"
    ):
        asked("--synthesis.targets", "[male]")
    with pytest.raises(
        ConfigError, match=r"^synthesis.targets: 'V' is none of the values of sex male, female"
    ):
        asked("--synthesis.targets", "[V]")
    with pytest.raises(
        ConfigError, match=r"^experiment.arms: 'real\+colour' is about skin types, .* is sex; leave"
    ):
        asked("--experiment.arms", "[real, real+syn, real+duplicates, real+colour]")
    with pytest.raises(
        ConfigError, match=r"^synthesis.targets: 'I' is not in corpus.attribute.minority \(V, VI\)"
    ):
        parse_config(FitzLoraConfig, ["--synthesis.targets", "[I]"], default=SMOKE)
    with pytest.raises(
        ConfigError, match=r"^experiment.primary.test_group: 'dark' is not tested .* give minority"
    ):
        asked("--experiment.primary.test_group", "dark")
    with pytest.raises(ConfigError, match=r"^4 settings .* corpus.attribute.majority: not given"):
        parse_config(FitzLoraConfig, ["--corpus.attribute.column", "sex"], default=SMOKE)
    for name in ("minority", "majority"):
        said = rf"^split.{name}_types: this setting is corpus.attribute.{name} now"
        with pytest.raises(ConfigError, match=said):
            parse_config(FitzLoraConfig, [f"--split.{name}_types", "[VI]"], default=SMOKE)


def test_one_setting_moves_the_split_and_the_targets() -> None:
    config = parse_config(FitzLoraConfig, ["--corpus.attribute.minority", "[VI]"], default=SMOKE)
    assert [drawing.targets for _, _, drawing in config.generators()] == [["VI"]]
    usual = parse_config(FitzLoraConfig, [], default=SMOKE)
    assert usual.corpus.attribute == SKIN_TYPE
    assert [drawing.targets for _, _, drawing in usual.generators()] == [["V", "VI"]]


def test_a_command_knows_the_values_of_its_corpus(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("{}")
    words = ["--mode", "transfer", "--groups", "[female]"]
    with pytest.raises(ConfigError, match=r"^groups: 'female' is none of the skin types I, II"):
        parse_config(SampleCommand, words, default=empty)
    sex = ["--corpus.attribute", json.dumps(asdict(SEX))]
    assert parse_config(SampleCommand, [*words, *sex], default=empty).groups == ["female"]
    with pytest.raises(ConfigError, match=r"^skin_types: this setting is groups now"):
        parse_config(SampleCommand, ["--skin_types", "[V]"], default=empty)
    old = tmp_path / "split.yaml"
    old.write_text(yaml.safe_dump({"scenario": {"minority_types": ["VI"]}}))
    with pytest.raises(
        ConfigError, match=r"^split.scenario.minority_types: this setting is corpus.attribute.min"
    ):
        parse_config(SampleCommand, ["--split", str(old)], default=empty)
