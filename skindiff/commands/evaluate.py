"""``skindiff evaluate``: do synthetic images help a classifier, and which groups? One split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from skindiff.classification.arm_names import parse_arm
from skindiff.classification.experiment import Experiment, ExperimentConfig
from skindiff.classification.provenance import UNRECORDED, is_recorded
from skindiff.commands import report as report_command
from skindiff.commands.data import CorpusSettings, open_study
from skindiff.commands.launching import launched
from skindiff.commands.settings import parse_command
from skindiff.commands.synthetic_input import keep_synthetic
from skindiff.commands.terminal import say, suggest
from skindiff.errors import ConfigError
from skindiff.progress import progress
from skindiff.report.assembly import write_study
from skindiff.report.measurements import MeasuredConfig, Measurements
from skindiff.report.results import Results
from skindiff.synthesis.strategies import Synthetic

TITLE = "Do the synthetic images help?"
_PRODUCTS = ("corpus.yaml", "split.yaml")


@dataclass
class EvaluateCommand(CorpusSettings, MeasuredConfig):
    """Train classifiers on real images, on synthetic ones, on both and on controls, and report the effects.

    skindiff evaluate --synthetic runs/transfer --corpus runs/lora/corpus.yaml --split runs/lora/split.yaml
    """

    output_dir: str = "runs/evaluate"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    synthetic: str | None = None
    """Run of skindiff sample, or a folder of its shards; only arms of real images can do without."""
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """Arms, networks, training seeds."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        super().validate(path)
        if self.fidelity and self.synthetic is None:
            raise ConfigError(
                f"{path}fidelity: there are no synthetic images to score; name the output_dir of skindiff "
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
    config = _settings(words)
    study = open_study(config, *_PRODUCTS)
    with study.run.withdrawn_on_error():
        synthetic = keep_synthetic(study, config.synthetic) if config.synthetic else None
        measured = Measurements()
        if synthetic:  # before any classifier, since it may be refused
            measured.add(study, config, synthetic)
    # Several processes share the classifiers of one call out among them.
    alone, first = study.accelerator.num_processes == 1, study.accelerator.is_main_process
    steps = list(_one_by_one(config.experiment)) if alone else [config.experiment]
    for settings in progress(steps, desc="classifiers", unit="classifier", disable=not first):
        Experiment(study, settings, scenario=config.split.protocol).cells(synthetic)
    experiment = Experiment(study, config.experiment, scenario=config.split.protocol)
    results = Results(measured=measured)
    results.add_split(experiment)
    if synthetic:
        results.add_generator(study, synthetic, experiment=experiment)
    notes = _notes(config, synthetic)
    replicates = config.experiment.bootstrap_replicates
    write_study(results, config, "evaluate", TITLE, replicates=replicates, notes=notes)
    say()
    report_command.show(study.run.path)
    say()
    suggest(["skindiff", "push", str(study.run.path), "OWNER/NAME", "--licence", "LICENCE"])
    return 0


def _one_by_one(config: ExperimentConfig) -> Iterator[ExperimentConfig]:
    """Return an experiment for each classifier, so that the progress is that of all of them."""
    for seed in config.train_seeds:
        for architecture in config.architectures:
            for arm in config.arms:
                yield replace(config, arms=[arm], architectures=[architecture], train_seeds=[seed])


def _notes(config: EvaluateCommand, synthetic: Synthetic | None) -> list[str]:
    notes = []
    if len(config.experiment.train_seeds) < 3:
        notes.append(f"{len(config.experiment.train_seeds)} training seeds: intervals tend to be too narrow.")
    if synthetic and not is_recorded(synthetic):
        notes.append(UNRECORDED)
    return notes
