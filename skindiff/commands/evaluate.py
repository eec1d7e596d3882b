"""``skindiff evaluate``: do drawn images help a classifier, and whom? One split, several training seeds."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from tqdm.auto import tqdm

from skindiff.classification.arm_names import parse_arm
from skindiff.classification.cells import Cell
from skindiff.classification.experiment import Experiment, ExperimentConfig
from skindiff.commands import report as report_command
from skindiff.commands.data import CorpusSettings, Data, open_run, prepare_data
from skindiff.commands.launching import launched
from skindiff.commands.settings import parse_command
from skindiff.commands.synthetic_input import RECORD, images_shown, is_recorded, keep_drawn, with_sources_of
from skindiff.commands.terminal import say, suggest
from skindiff.corpora.registry import shows_patients
from skindiff.errors import ConfigError
from skindiff.measures.copying.memorisation import CopyingConfig
from skindiff.measures.fidelity.scores import FidelityConfig
from skindiff.measures.skin.transfer import TransferPart, transfer_lesions, transfer_tone
from skindiff.report.class_pictures import class_lines, classes_section, types_section
from skindiff.report.class_sections import per_class_f1, per_class_section
from skindiff.report.copying_collector import CopiesCollector
from skindiff.report.fidelity_collector import FidelityCollector
from skindiff.report.study_section import StudySection, StudySectionOf
from skindiff.report.write import Report, environment, write_report
from skindiff.runs import RunFolder
from skindiff.synthesis.strategies import Synthetic

TITLE = "Do the drawn images help?"
_PRODUCTS = ("corpus.yaml", "split.yaml")


@dataclass
class EvaluateCommand(CorpusSettings):
    """Train classifiers on real images, on drawn ones, on both and on controls, and report who gained.

    skindiff evaluate --synthetic runs/transfer --corpus runs/lora/corpus.yaml --split runs/lora/split.yaml
    """

    output_dir: str = "runs/evaluate"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    synthetic: str | None = None
    """Run of skindiff sample, or a folder of its shards; only arms of real images can do without."""
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """Arms, networks, training seeds."""
    fidelity: FidelityConfig | None = None
    """Score drawn images against the test images in these features; null does not (needs torch-fidelity)."""
    copying: CopyingConfig = field(default_factory=CopyingConfig)
    """How copies of training images are looked for among the drawn ones."""
    include_images: bool | None = None
    """Put samples of the training images, and of those drawn, into the report; with photographs of patients
    it must then stay where they are. null does so only if the corpus is phantom."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        super().validate(path)
        self.experiment.validate(f"{path}experiment.")
        self.copying.validate(f"{path}copying.")
        if self.fidelity:
            self.fidelity.validate(f"{path}fidelity.")
            if self.synthetic is None:
                raise ConfigError(
                    f"{path}fidelity: there are no drawn images to score; name the output_dir of skindiff "
                    "sample by --synthetic, or leave fidelity out"
                )
        needy = [arm for arm in self.experiment.arms if parse_arm(arm).needs_synthetic]
        if self.synthetic is None and needy:
            raise ConfigError(
                f"{path}synthetic is not given, and arm {needy[0]!r} needs it: name the output_dir of "
                'skindiff sample, or say --experiment.arms "[real]"'
            )
        if self.split.protocol == "everything":
            raise ConfigError(f"{path}split.protocol: everything leaves nothing to test on; use fractions")


def main(words: Sequence[str]) -> int:
    """Compare arms, in as many processes as asked for."""
    return launched("evaluate", words, _evaluate, _settings)


def _settings(words: list[str]) -> EvaluateCommand:
    return parse_command(EvaluateCommand, words, "evaluate")


def _evaluate(words: list[str]) -> int:
    started = time.perf_counter()
    config = _settings(words)
    run, accelerator = open_run(config, *_PRODUCTS, trackers=config.trackers)
    data = prepare_data(config, run, accelerator)
    with run.withdrawn_on_error():
        synthetic = keep_drawn(run, accelerator, config.synthetic, data) if config.synthetic else None
        judged = _judge(config, run, data, synthetic)
    cells: list[Cell] = []
    logs: dict[str, list[dict[str, float]]] = {}
    # Several processes share the classifiers of one call out among them.
    steps = list(_one_by_one(config.experiment)) if accelerator.num_processes == 1 else [config.experiment]
    for settings in tqdm(
        steps, desc="classifiers", unit="classifier", disable=not accelerator.is_main_process
    ):
        experiment = Experiment(
            run, accelerator, settings, data.corpus.dataset, data.split,
            scenario=config.split.protocol, corpus_fingerprint=data.corpus.fingerprint,
        )  # fmt: skip
        cells += experiment.cells(synthetic, "drawn" if synthetic else None)
        for name, log in experiment.logs.items():
            logs.setdefault(name, log)
    if accelerator.is_main_process:
        described, seconds = experiment.described_split(), time.perf_counter() - started
        _report(config, run, accelerator, data, described, synthetic, judged, cells, logs, seconds)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    say()
    report_command.show(run.path)
    say()
    suggest(["skindiff", "push", str(run.path), "OWNER/NAME", "--licence", "LICENCE"])
    return 0


@dataclass(frozen=True)
class _Judged:
    """What the drawn images are like beside real ones, and what to know about it."""

    fidelity: FidelityCollector = field(default_factory=FidelityCollector)
    copies: CopiesCollector = field(default_factory=CopiesCollector)
    notes: list[str] = field(default_factory=list)


def _judge(config: EvaluateCommand, run: RunFolder, data: Data, synthetic: Synthetic | None) -> _Judged:
    """Score fidelity and look for copies, as recipes do; before any classifier, since both may be refused."""
    judged = _Judged()
    if synthetic is None:
        return judged
    held_out, seed, key = data.part("test"), data.split.seed, data.corpus.fingerprint
    images = {"real training": data.part("train"), "drawn": synthetic.dataset}
    judged.fidelity.add(run, config.fidelity, held_out, images, seed, key)
    shown = images_shown(synthetic.dataset, data, synthetic.folder / RECORD)
    traced, lost = with_sources_of(synthetic, data)
    judged.copies.add(run, config.copying, shown, held_out, traced, "drawn", seed, key)
    if lost and judged.copies.rows:
        judged.notes.append(
            f"{lost} images were re-drawn from photographs that are not in this corpus: copies of those are "
            "not looked for."
        )
    judged.notes.extend(judged.copies.notes())
    return judged


def _one_by_one(config: ExperimentConfig) -> Iterator[ExperimentConfig]:
    """Return an experiment for each classifier, so that the progress is that of all of them."""
    for seed in config.train_seeds:
        for architecture in config.architectures:
            for arm in config.arms:
                yield replace(config, arms=[arm], architectures=[architecture], train_seeds=[seed])


def _report(
    config: EvaluateCommand,
    run: RunFolder,
    accelerator: Accelerator,
    data: Data,
    described: dict[str, Any],
    synthetic: Synthetic | None,
    judged: _Judged,
    cells: Sequence[Cell],
    logs: dict[str, list[dict[str, float]]],
    seconds: float,
) -> Path:
    part = _transfer(data, synthetic)
    tone = transfer_tone([part], show_progress=True) if part else None
    lesion = transfer_lesions([part], show_progress=True) if part else None
    by_class = per_class_f1(cells)
    drawn = {"generator": synthetic.generator, **synthetic.summary} if synthetic else {}
    drawn.pop("timings", None)
    study_sections: list[StudySection | StudySectionOf] = [per_class_section(by_class)]
    if synthetic:
        train, images = data.part("train"), synthetic.dataset
        study_sections += [
            classes_section({"drawn": class_lines(train, images)}),
            types_section(train, images),
        ]
    report = Report(
        recipe="evaluate",
        title=TITLE,
        config=asdict(config),
        splits=[described],
        cells=cells,
        replicates=config.experiment.bootstrap_replicates,
        corpus={"name": config.corpus.name, **data.corpus.counts()},
        tones={"drawn": tone} if tone else {},
        lesions={"drawn": lesion} if lesion else {},
        curves={"classifiers": logs},
        notes=[*data.corpus.warnings, *_notes(config, synthetic), *judged.notes],
        study_sections=[*study_sections, judged.fidelity.section(), judged.copies.section()],
        extra={
            "synthesis": [drawn] if drawn else [],
            "per_class_f1": by_class,
            **({"fidelity": judged.fidelity.rows} if judged.fidelity.rows else {}),
            **({"copying": judged.copies.rows} if judged.copies.rows else {}),
        },
        timings={"seconds_of_last_call": seconds},
    )
    surroundings = environment(accelerator.num_processes, accelerator.device.type)
    return write_report(run.path, report, include_images=config.include_images, surroundings=surroundings)


def _transfer(data: Data, synthetic: Synthetic | None) -> TransferPart | None:
    """Return the re-drawn images with their sources and the tested images of the types they were drawn as."""
    if synthetic is None or not any(synthetic.dataset["source_id"]):
        return None
    wanted = set(synthetic.dataset["skin_type"]) - {None}
    test = data.part("test")
    target = [row for row, kind in enumerate(test["skin_type"]) if kind in wanted]
    return TransferPart(synthetic.dataset, data.corpus.dataset, test.select(target)) if target else None


def _notes(config: EvaluateCommand, synthetic: Synthetic | None) -> list[str]:
    notes = ["One split: the intervals say nothing of how another cut of the corpus would come out."]
    if not shows_patients(config.corpus.name):
        notes.append(
            "These are drawings of skin, not photographs: they test the method and its measurement, and say "
            "nothing about patients."
        )
    if len(config.experiment.train_seeds) < 3:
        notes.append(f"{len(config.experiment.train_seeds)} training seeds: intervals tend to be too narrow.")
    if synthetic and not is_recorded(synthetic):
        notes.append(
            "It is not recorded which images taught the generator: if tested ones did, the scores of "
            "arms with drawn images are too good, and copies of them are not looked for."
        )
    return notes
