"""Skin-type transfer by Stable Diffusion: does it help the skin types that have too few images? (system S5)

    accelerate launch recipes/fitz_lora.py     # smoke: what is bundled, minutes, no network
    accelerate launch recipes/fitz_lora.py --config recipes/fitz_lora/paper.yaml \
        --corpus.fitzpatrick17k.data_dir DIR     # the published settings, on a GPU

Teaches a pipeline the conditions (textual inversion, LoRA), re-draws majority images as minority skin types
(img2img), trains classifiers on real / syn / real+syn and two controls, and reports with intervals whether
the minority group gained. After Wang et al., "From Majority to Minority", 2024.
"""

import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from accelerate.logging import get_logger

from skindiff.classification.experiment import Experiment, ExperimentConfig
from skindiff.config import check_resume, check_seeds, parse_config
from skindiff.corpora.registry import CorpusConfig, prepare_corpus
from skindiff.corpora.splits import SplitConfig, make_split
from skindiff.errors import SkindiffError
from skindiff.generators.stable_diffusion import check_stable_diffusion
from skindiff.launch import start_accelerator
from skindiff.measures.copying.memorisation import CopyingConfig
from skindiff.measures.fidelity.scores import FidelityConfig
from skindiff.report.fitz import FitzResults, report_fitz_lora
from skindiff.runs import RunFolder
from skindiff.synthesis.plan import SynthesisConfig
from skindiff.synthesis.strategies import GeneratorConfig, GeneratorOfSplit, check_strategies

logger = get_logger(__name__)


@dataclass
class FitzLoraConfig:
    """One study of skin-type transfer, from the corpus to the report."""

    output_dir: str = "runs/fitz_lora"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    resume: bool = False
    """Go on with the run in output_dir; what is finished and unchanged is kept."""
    overwrite: bool = False
    """Delete the run in output_dir first."""
    threads: int | None = None
    """CPU threads per process; null shares the cores among the local processes."""
    trackers: list[str] = field(default_factory=list)
    """Experiment trackers of Accelerate, such as tensorboard or wandb."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """The images."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Scenario and protocol."""
    split_seeds: list[int] = field(default_factory=lambda: [0, 42, 123, 1111, 1234])
    """Seeds of the splits; a generator is trained for each. The default are the paper's."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    """Base model, textual inversion, LoRA."""
    strategies: list[str] = field(default_factory=lambda: ["img2img ti+lora"])
    """Generation strategies of the paper's Table 5 to draw with and to train classifiers on."""
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    """How images are drawn; its strategy and mode are overruled by strategies."""
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """Arms and classifiers."""
    fidelity: FidelityConfig | None = None
    """Score drawn images against the test images in these features; null does not (needs torch-fidelity)."""
    copying: CopyingConfig = field(default_factory=CopyingConfig)
    """How copies of training images are looked for among the drawn ones."""
    include_images: bool | None = None
    """Put sample grids into the report; the run folder then holds pictures of the corpus, so null, for
    patients' sake, does so only if the corpus is phantom."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work, before anything is loaded."""
        self.corpus.validate(f"{path}corpus.")
        self.split.validate(f"{path}split.")
        self.generator.validate(f"{path}generator.")
        self.synthesis.validate(f"{path}synthesis.")
        self.experiment.validate(f"{path}experiment.")
        self.copying.validate(f"{path}copying.")
        if self.fidelity:
            self.fidelity.validate(f"{path}fidelity.")
        check_strategies(self.strategies, f"{path}strategies")
        check_seeds(self.split_seeds, f"{path}split_seeds")
        check_resume(self.resume, self.overwrite, path)


def main(config: FitzLoraConfig) -> Path:
    """Run the study and return the path of its report."""
    started = time.perf_counter()
    check_stable_diffusion(config.generator.model, config.generator.revision)  # before the corpus is read
    accelerator = start_accelerator(config.threads, config.trackers, config.output_dir)
    run = RunFolder(config.output_dir, config, accelerator, resume=config.resume, overwrite=config.overwrite)
    accelerator.init_trackers("skindiff")

    # 1. The corpus: read, audited for near-duplicates, resized once.
    with run.withdrawn_on_error():
        with accelerator.main_process_first():
            corpus = prepare_corpus(config.corpus, run.path)
        # 2. The splits: who trains, who selects, who is tested.
        splits = {seed: make_split(corpus.dataset, config.split, seed) for seed in config.split_seeds}
    logger.info("corpus %s: %s", config.corpus.name, corpus.counts())
    results = FitzResults(corpus=corpus)
    key = {"corpus_fingerprint": corpus.fingerprint}

    for seed, split in splits.items():
        logger.info("split seed %d: %s", seed, split.sizes())
        arguments = {"scenario": config.split.scenario, **key}
        experiment = Experiment(run, accelerator, config.experiment, corpus.dataset, split, **arguments)
        rows = (experiment.train, corpus.dataset.select(split.validation) if split.validation else None)
        generator = GeneratorOfSplit(run, accelerator, config.generator, *rows, seed=seed, **key)
        held_out = corpus.dataset.select(sorted({row for rows in split.test.values() for row in rows}))
        results.add_split(experiment)

        for strategy in config.strategies:
            # 3. Train the generator and draw.
            synthetic = generator.draw(strategy, config.synthesis)
            # 4. Train classifiers on every arm and score them.
            results.add_strategy(experiment, strategy, synthetic)
            images = {"real training": experiment.train, strategy: synthetic.dataset}
            results.fidelity.add(run, config.fidelity, held_out, images, seed, **key)
            results.copies.add(
                run, config.copying, experiment.train, held_out, synthetic, strategy, seed, **key
            )

    # 5. Report.
    results.seconds = time.perf_counter() - started
    if accelerator.is_main_process:
        report_fitz_lora(results, asdict(config), run.path, accelerator)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run.path / "report.md"


if __name__ == "__main__":
    try:
        report = main(parse_config(FitzLoraConfig, default=Path(__file__).with_suffix("") / "smoke.yaml"))
    except SkindiffError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"report: {report}")
