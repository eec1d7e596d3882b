"""Do synthetic images help? Evaluation, near copies and fidelity, from a notebook."""

import html
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from skindiff.api.calls import Folder, Home, configured, run_of_call, study_of
from skindiff.api.gathering import Question, gathered
from skindiff.api.promised import Promised
from skindiff.api.published_protocol import PublishedProtocol
from skindiff.api.synthesis import SyntheticDataset
from skindiff.api.synthetic_input import OfSplit
from skindiff.classification.arm_names import parse_arm, refuse_tone_arms
from skindiff.classification.cells import is_probe
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.external_sets import Learnt, open_external
from skindiff.classification.recorded_cells import NOTHING, RecordedCells
from skindiff.config import validate_parts
from skindiff.corpora.registry import Corpus, CorpusConfig
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError
from skindiff.files import at_home
from skindiff.measures.copying.memorisation import CopyingConfig
from skindiff.measures.copying.near_copies import load_near_copies
from skindiff.measures.copying.stage import find_copies as search
from skindiff.measures.fidelity.by_class import class_fidelity
from skindiff.measures.fidelity.scores import FidelityConfig
from skindiff.report.assembly import About, write_study
from skindiff.report.compare import TEXT_FILE, read_runs, write_comparison
from skindiff.report.content import ReportContent
from skindiff.report.measurements import MeasuredConfig
from skindiff.report.read import read_report
from skindiff.runs import CONFIG_FILE
from skindiff.training.balancing import refuse_unrecorded

Given = OfSplit | Promised
"""Synthetic images of a split, or what makes them."""
ABOUT = About("evaluate", "Do the synthetic images help?")
REAL_ALONE = replace(ABOUT, title="How well do classifiers of real images do?")
"""Where there are no synthetic images."""
METRICS = ("accuracy", "balanced_accuracy", "f1", "auroc")


@dataclass
class EvaluationConfig(MeasuredConfig):
    """What an evaluation is made with."""

    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """Arms, networks, training seeds."""


@dataclass(frozen=True)
class EvaluationReport:
    """The report of an evaluation; in a notebook it shows itself.

    Attributes:
        folder: with ``report.html``, ``report.md``, ``report.json`` and the pictures.
        content: of ``report.json``.
        home: what the folder belongs to.
    """

    folder: Path
    content: ReportContent
    home: Home

    @property
    def summary(self) -> pd.DataFrame:
        """A row for each arm, score and reference: mean, difference, and their intervals."""
        return pd.DataFrame(list(self.content["summary"])).drop(columns="against", errors="ignore")

    @property
    def verdicts(self) -> list[str]:
        """A short text for each arm: it helps, hurts, or cannot be told apart."""
        return [row["sentence"] for row in self.content["verdicts"]]

    @property
    def figures(self) -> dict[str, Path]:
        """The pictures of the report, by name."""
        return {path.stem: path for path in sorted((self.folder / "pictures").glob("*.png"))}

    def save(self, folder: str | Path) -> Path:
        """Copy the report and its pictures into a folder, and return the path of ``report.html``."""
        target = Path(at_home(folder))
        shutil.copytree(self.folder / "pictures", target / "pictures", dirs_exist_ok=True)
        for name in ("report.json", "report.md", "report.html", CONFIG_FILE):
            shutil.copyfile(self.folder / name, target / name)
        return target / "report.html"

    def _repr_html_(self) -> str:
        page = html.escape((self.folder / "report.html").read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 640px; border: 0"></iframe>'


def evaluate(
    corpus: Corpus,
    splits: Split | Sequence[Split],
    synthetic: Given | Sequence[Given | Sequence[Given]] | None = None,
    arms: Sequence[str] = ("real", "real+syn", "real+duplicates"),
    classifier: Mapping[str, Any] | ClassifierConfig | None = None,
    output_dir: Folder = None,
    resume: bool = False,
    seeds: Sequence[int] | None = None,
    about: About | None = None,
    allow_taught: bool = False,
    published: PublishedProtocol | None = None,
    recorded: RecordedCells = NOTHING,
    **settings: Any,
) -> EvaluationReport:
    """Train classifiers with and without synthetic images, and say whether they helped, and which groups.

    Example:
        >>> report = skindiff.evaluate(corpus, split, synthetic)
        >>> report.verdicts
        >>> report.summary[["arm", "reference", "metric", "mean", "delta", "delta_ci_low"]]

    Args:
        corpus: of :func:`skindiff.load_corpus`.
        splits: one, or several, whose spread then counts in the intervals.
        synthetic: of :func:`skindiff.generate` or :func:`skindiff.transfer`, or the folder where they were
            saved, or what makes them when they are needed
            (:class:`~skindiff.api.promised.Promised`); one for each split, or to compare generators a list
            for each split.
        arms: what is trained on: ``real``, ``syn``, ``real+syn`` and the controls ``real+duplicates`` (as
            many images, but repeats) and ``real+colour`` (recoloured without a generator); more in
            :class:`~skindiff.classification.experiment_config.ExperimentConfig`.
        classifier: settings of :class:`~skindiff.classification.classifier_config.ClassifierConfig`, for
            ``architectures`` that are fine-tuned; those of linear probes are ``probe``.
        output_dir: folder of the run; by default a temporary one, deleted with the report.
        resume: go on with the run in ``output_dir``.
        seeds: of trainings and synthetic images, one for each split, where several trainings share one; then
            they are those of the classifiers too. Those of the splits when left out.
        about: name, title, notes and published numbers of the report; those of an evaluation when left out.
        allow_taught: go on with images of a generator that validated or tested images taught, as in some
            papers; the report says so. They are refused otherwise.
        published: the same study under its paper's protocol, to tell how much of a published gain is the
            generator's.
        recorded: cells that count as done, so that nothing is trained or generated for them.
        settings: of :class:`~skindiff.classification.experiment_config.ExperimentConfig`, such as
            ``architectures`` (``["probe:lite0"]``, linear probes; ``["resnet18"]`` fine-tunes),
            ``train_seeds`` (``[0]``), ``bootstrap_replicates`` (2,000) and ``external`` (other corpora to
            test on: by name, a mapping of :class:`~skindiff.classification.external.ExternalConfig`, whose
            ``corpus`` may be one of :func:`skindiff.load_corpus`), and ``copying``, ``fidelity`` and
            ``include_images`` of the report.

    Returns:
        The report: its table, verdicts and figures, and in a notebook its page.

    Raises:
        ConfigError: a setting cannot work, or an arm needs synthetic images and there are none.
        SplitError, SynthesisError: test or validation images were transferred, or taught the generator.
    """
    cuts = [splits] if isinstance(splits, Split) else list(splits)
    if seeds is not None and len(seeds) != len(cuts):
        raise ConfigError(f"seeds: {len(seeds)} for {len(cuts)} splits; give one for each")
    sets = _sets_of_splits(synthetic, len(cuts))
    needy = [arm for arm in arms if parse_arm(arm).needs_synthetic]
    if needy and not all(sets):
        raise ConfigError(f"synthetic: the arm {needy[0]!r} needs synthetic images; give some, or other arms")
    about = about or (ABOUT if any(sets) else REAL_ALONE)
    config = _config(corpus, arms, classifier, settings)
    with run_of_call(output_dir, resume, config) as (run, home):
        with run.withdrawn_on_error():
            known = Learnt.of(corpus)
            external = open_external(run, known, config.experiment.external, "experiment.external")
        question = Question(
            config.experiment,
            config,
            about.scenario,
            seeds is None,
            allow_taught,
            recorded,
            published,
            external,
        )
        results, found = gathered(run, corpus, cuts, seeds, sets, question)
        notes = [*_on_test(config.experiment), *found, *about.notes]
        replicates = config.experiment.bootstrap_replicates
        write_study(results, run.config, replace(about, notes=notes), replicates=replicates)
    return EvaluationReport(home.path, read_report(home.path), home)


def _on_test(config: ExperimentConfig) -> list[str]:
    if config.selected_on == "validation":
        return []
    return ["Weights were selected on the images they are tested on: all scores of networks are too good."]


def _sets_of_splits(synthetic: Any, splits: int) -> list[list[Given]]:
    """Return the sets of each split: none, one, or several."""
    if synthetic is None or (isinstance(synthetic, Sequence) and not synthetic):
        return [[] for _ in range(splits)]
    one = (SyntheticDataset, Promised, str, Path)
    given = [synthetic] if isinstance(synthetic, one) else list(synthetic)
    if len(given) != splits:
        raise ConfigError(f"synthetic: {len(given)} data sets for {splits} splits; give one for each")
    return [[own] if isinstance(own, one) else list(own) for own in given]


def _config(
    corpus: Corpus,
    arms: Sequence[str],
    classifier: Mapping[str, Any] | ClassifierConfig | None,
    settings: dict[str, Any],
) -> EvaluationConfig:
    names = ("copying", "fidelity", "include_images")
    measured = {name: settings.pop(name) for name in names if name in settings}
    if not isinstance(classifier, ClassifierConfig):
        tuned = not all(map(is_probe, settings.get("architectures", ExperimentConfig().architectures)))
        usual = ClassifierConfig(image_size=corpus.image_size) if tuned else ClassifierConfig()
        classifier = configured(usual, classifier or {})
    if "external" in settings:
        settings = {**settings, "external": _by_settings(settings["external"])}
    experiment = configured(ExperimentConfig(arms=list(arms)), {"classifier": classifier, **settings})
    config = configured(EvaluationConfig(corpus=corpus.config or CorpusConfig()), measured)
    config.experiment = experiment
    validate_parts(config)
    refuse_tone_arms(experiment.arms, corpus.attribute, "arms")
    if not all(map(is_probe, experiment.architectures)):
        column = corpus.attribute.column
        recorded = corpus.dataset[column][:]
        refuse_unrecorded(experiment.classifier.balance, recorded, column, "classifier.balance")
    return config


def _by_settings(external: Mapping[str, Any]) -> dict[str, Any]:
    """Return other corpora by their settings, where they are in hand."""
    found = {}
    for name, one in external.items():
        known = one if isinstance(one, Mapping) else vars(one)
        corpus = known.get("corpus")
        if isinstance(corpus, Corpus):
            if corpus.config is None:
                raise ConfigError(
                    f"external.{name}.corpus: it is not of load_corpus; give its settings instead"
                )
            known = {**known, "corpus": corpus.config}
        found[name] = {
            key: asdict(part) if isinstance(part, CorpusConfig) else part for key, part in known.items()
        }
    return found


def find_copies(
    synthetic: SyntheticDataset, corpus: Corpus, split: Split, seed: int = 0, **settings: Any
) -> pd.DataFrame:
    """Look for near copies of training images among synthetic ones.

    Example:
        >>> copies = skindiff.find_copies(synthetic, corpus, split)
        >>> copies[copies["near_copy"]]

    Args:
        synthetic: of :func:`skindiff.generate` or :func:`skindiff.transfer`.
        corpus: that the generator learnt from.
        split: whose training rows may have been copied; its tested rows set the threshold.
        seed: of planted copies and sampled images.
        settings: of :class:`~skindiff.measures.copying.memorisation.CopyingConfig`.

    Returns:
        A row for each synthetic image, the nearest training image first; ``attrs["found"]`` has the counts.
    """
    config = configured(CopyingConfig(), settings)
    with run_of_call(None, False, config) as (run, _):
        study = study_of(run, corpus, split, seed)
        found = search(
            study, config, synthetic.drawn, name="synthetic",
            training=study.train, held_out=study.held_out,
        )  # fmt: skip
    report = load_near_copies(synthetic.folder)
    assert report is not None
    table = pd.DataFrame([asdict(row) for row in report.rows])
    table["near_copy"] = table["image_id"].isin([row.image_id for row in report.copies])
    table.attrs["found"] = found
    return table.sort_values("similarity", ascending=False, ignore_index=True)


def fidelity(
    synthetic: SyntheticDataset, corpus: Corpus, split: Split, seed: int = 0, **settings: Any
) -> pd.DataFrame:
    """Score how near synthetic images come to real ones that the generator never saw.

    Example:
        >>> skindiff.fidelity(synthetic, corpus, split)[["images", "kid", "kid_low", "kid_high"]]

    Args:
        synthetic: of :func:`skindiff.generate` or :func:`skindiff.transfer`.
        corpus: with the real images.
        split: whose tested rows are compared with.
        seed: of the choice among images of a class.
        settings: of :class:`~skindiff.measures.fidelity.scores.FidelityConfig`, such as ``features``.

    Returns:
        A row for the synthetic images and one for the real training images, which is what copies would score.
    """
    config = configured(FidelityConfig(), settings)
    with run_of_call(None, False, config) as (run, _):
        study = study_of(run, corpus, split, seed)
        images = {"synthetic": synthetic.dataset, "real training": study.train}
        rows = [
            class_fidelity(study, config, own, name=name, held_out=study.held_out)
            for name, own in images.items()
        ]
    return pd.DataFrame(
        [{"images": row["images"], "generated": row["generated"], **row["scores"]} for row in rows]
    )


def compare(
    runs: Sequence[str | Path], metrics: Sequence[str] = METRICS, output_dir: str | Path | None = None
) -> str:
    """Set finished runs side by side, and return the text, Markdown.

    Example:
        >>> print(skindiff.compare(["runs/rank8", "runs/rank16"]))

    Args:
        runs: their folders.
        metrics: scores to show.
        output_dir: folder for the text, a page and a picture; none is kept when left out.

    Raises:
        ConfigError, RunFolderError: there are fewer than two, or one is not finished.
    """
    home = Home(output_dir)
    write_comparison(home.path, read_runs([Path(at_home(run)) for run in runs]), list(metrics))
    return (home.path / TEXT_FILE).read_text(encoding="utf-8")
