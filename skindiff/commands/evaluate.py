"""``skindiff evaluate``: do synthetic images help a classifier, and which groups?"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from skindiff.api.elsewhere import ask_elsewhere
from skindiff.api.evaluation import evaluate
from skindiff.classification.arm_names import parse_arm
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.external import ExternalConfig, MappedClasses
from skindiff.commands import report as report_command
from skindiff.commands.launching import launched
from skindiff.commands.settings import parse_command
from skindiff.commands.studies import CorpusSettings, open_study
from skindiff.commands.terminal import say, suggest
from skindiff.config import check_seeds
from skindiff.report.measurements import MeasuredConfig
from skindiff.study import open_run
from skindiff.wrong_settings import refuse


@dataclass
class EvaluateCommand(CorpusSettings, MeasuredConfig):
    """Train classifiers on real images, on synthetic ones, on both and on controls, and report the effects.

    skindiff evaluate --synthetic runs/transfer --corpus runs/lora/corpus.yaml --split runs/lora/split.yaml
    skindiff evaluate --model runs/evaluate --corpus.name imagefolder --corpus.imagefolder.data_dir DIR
    """

    scores: ClassVar[bool] = True
    output_dir: str = "runs/evaluate"
    """Folder of the run; one that holds a run is refused unless resume or overwrite is given."""
    synthetic: list[str] | str | None = None
    """Run of skindiff sample, or a folder of its shards, one for each split; only arms of real images can do
    without."""
    split_seeds: list[int] | None = None
    """Cut the corpus by each of these seeds instead of split.seed; probes need three for a verdict."""
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """Arms, networks, training seeds, and other corpora to test on."""
    model: str | None = None
    """A finished run, or a folder of a classifier: nothing is trained, and its classifiers are asked about
    the images of corpus, all of which are tested on."""
    mapping: MappedClasses = field(default_factory=MappedClasses)
    """What the classes of corpus are in the study of model."""

    def idle(self) -> dict[str, str]:
        """Return the settings that change nothing."""
        if self.model is None:
            return {"mapping": "no model is given"}
        names = ("synthetic", "split", "split_seeds", "experiment", "copying", "fidelity")
        return dict.fromkeys(names, "the classifiers of model are asked, and nothing is trained")

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        super().validate(path)
        if self.model is not None:
            return
        if self.split_seeds is not None:
            check_seeds(self.split_seeds, f"{path}split_seeds")
            if self.split.protocol == "official":
                refuse(f"{path}split_seeds: official parts are one split; leave the setting out")
        sets, splits = len(self.sets), len(self.split_seeds or [0])
        if self.sets and sets != splits:
            refuse(f"{path}synthetic: {sets} data sets for {splits} splits; name one for each")
        if self.fidelity and self.synthetic is None:
            refuse(
                f"{path}fidelity: there are no synthetic images to score; name the output_dir of skindiff "
                "sample by --synthetic, or leave fidelity out"
            )
        needy = [arm for arm in self.experiment.arms if parse_arm(arm).needs_synthetic]
        if self.synthetic is None and needy:
            refuse(
                f"{path}synthetic is not given, and arm {needy[0]!r} needs it: name the output_dir of "
                'skindiff sample, or say --experiment.arms "[real]"'
            )
        if self.split.protocol == "everything":
            refuse(f"{path}split.protocol: everything leaves nothing to test on; use fractions")

    @property
    def sets(self) -> list[str]:
        """The folder of synthetic images of each split."""
        return [self.synthetic] if isinstance(self.synthetic, str) else list(self.synthetic or [])


def main(words: Sequence[str]) -> int:
    """Compare arms, in as many processes as asked for."""
    return launched("evaluate", words, _evaluate, _settings)


def _settings(words: list[str]) -> EvaluateCommand:
    return parse_command(EvaluateCommand, words, "evaluate")


def _evaluate(words: list[str]) -> int:
    config = _settings(words)
    if config.model is not None:
        other = ExternalConfig(**vars(config.mapping), corpus=config.corpus)
        ask_elsewhere(open_run(config), Path(config.model), config.corpus.name, other, config)
        say()
        report_command.show(Path(config.output_dir))
        return 0
    study = open_study(config)
    cuts = [replace(config.split, seed=seed) for seed in config.split_seeds or []]
    splits = [cut.split(study.corpus.dataset, study.corpus.attribute) for cut in cuts] or [study.split]
    evaluate(
        study.corpus, splits, config.sets, output_dir=study.run,
        **vars(config.experiment), **config.measured,
    )  # fmt: skip
    say()
    report_command.show(study.run.path)
    say()
    suggest(["skindiff", "push", str(study.run.path), "OWNER/NAME", "--licence", "LICENCE"])
    return 0
