"""Transfer by Stable Diffusion: does it help the skin types, or what else is scarce, with too few images?

    accelerate launch recipes/fitz_lora.py     # smoke: what is bundled, minutes, no network
    accelerate launch recipes/fitz_lora.py --config recipes/fitz_lora/paper.yaml \
        --corpus.fitzpatrick17k.data_dir DIR     # the published settings, on a GPU

Teaches a pipeline the conditions (textual inversion, LoRA), transfers majority images to the minority
(img2img), trains classifiers on real / syn / real+syn and two controls, and reports with intervals whether
the minority group gained. After Wang et al., "From Majority to Minority", 2024.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import skindiff
from skindiff.api.promised import Promised
from skindiff.api.published_protocol import PublishedProtocol, cut_for_ladder
from skindiff.api.synthesis import SyntheticDataset
from skindiff.api.transfer_study import TransferStudyConfig
from skindiff.classification.recorded_cells import RecordedCells, kept_beside
from skindiff.commands.recipe import run_recipe
from skindiff.generators.models import model_revision
from skindiff.generators.resolve import Place
from skindiff.generators.text_to_image.loading import check_text_to_image
from skindiff.report.assembly import About
from skindiff.report.published.fitzpatrick import published_rows, transfer_notes
from skindiff.study import Study, all_studies, look_first, open_run, read_corpus
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.strategies import GeneratorConfig

TITLE = "Skin-type transfer: does it help the minority group?"


@dataclass
class FitzLoraConfig(TransferStudyConfig):
    """One study of skin-type transfer, from the corpus to the report."""

    output_dir: str = "runs/fitz_lora"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""


def taught(study: Study, trainings: GeneratorConfig, learnt: str) -> Place:
    """Teach a base model what a strategy needs: nothing (vanilla), ti, lora or ti+lora."""
    corpus, split = study.corpus, study.split
    generator = Place(trainings.model, trainings.revision, config=trainings.config)
    if "ti" in learnt.split("+"):
        words = vars(trainings.textual_inversion)
        generator = skindiff.train_textual_inversion(corpus, split, generator, None, study, **words)
    if "lora" in learnt:
        generator = skindiff.train_lora(corpus, split, generator, None, study, **vars(trainings.lora))
    return generator


def transferred(
    study: Study, trainings: GeneratorConfig, drawing: SynthesisConfig, strategy: str
) -> SyntheticDataset:
    """Teach a generator the conditions, and transfer the training images of a split."""
    mode, learnt = strategy.split(" ")
    generator, settings = taught(study, trainings, learnt), {**vars(drawing), "mode": mode}
    return skindiff.transfer(generator, study.corpus, seed=study.seed, output_dir=study, **settings)


def promised(config: FitzLoraConfig, study: Study) -> list[Promised]:
    """Return what does so for every generator and strategy, where it is needed."""
    found = []
    for name, trainings, drawing in config.generators():
        made_with = {
            "base": model_revision(*trainings.base),  # wherever it lies
            "words": trainings.textual_inversion, "lora": trainings.lora, "drawing": drawing,
            **config.corpus.attribute.record(),
        }  # fmt: skip
        for strategy in config.strategies:
            make = partial(transferred, study, trainings, drawing, strategy)
            found.append(Promised(strategy, made_with, make, name))
    return found


def main(config: FitzLoraConfig) -> Path:
    """Run the study and return the path of its report."""
    bases = [trainings.base for _, trainings, _ in config.generators()]
    look_first(config, *(lambda _, base=base: check_text_to_image(*base) for base in bases))

    # 1. The corpus, and its splits: training, validation and test images.
    run = open_run(config)
    cut = partial(cut_for_ladder, protocol="scenario", config=config)
    corpus, (splits, cuts) = read_corpus(config.corpus, run, cut, kept=kept_beside(__file__, config.recorded))

    # 2. What teaches the generators on each split, and transfers its training images.
    count = len(splits)
    synthetic = [promised(config, study) for study in all_studies(run, corpus, [*splits, *cuts])]
    paper = PublishedProtocol(config.ladder, cuts, synthetic[count:]) if config.ladder else None

    # 3. Make what is needed, train classifiers on every arm and score them; measure copies; report.
    skin = config.corpus.attribute.is_skin_tone  # which the paper is about
    published = published_rows(config.split.scenario, ablation=len(config.strategies) > 1) if skin else ()
    title = TITLE if skin else f"Transfer by {config.corpus.attribute.name}: does it help the minority?"
    about = About("fitz_lora", title, config.split.scenario, published, transfer_notes(config.split.preset))
    report = skindiff.evaluate(
        corpus, splits, synthetic[:count], output_dir=run, about=about,
        published=paper, recorded=RecordedCells.beside(__file__, config.recorded),
        **vars(config.experiment), **config.measured,
    )  # fmt: skip
    return report.folder / "report.md"


if __name__ == "__main__":
    run_recipe(main, FitzLoraConfig, __file__)
