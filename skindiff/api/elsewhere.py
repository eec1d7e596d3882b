"""Classifiers of a finished run, asked about another corpus; nothing is trained."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml
from datasets import Dataset

from skindiff.api.calls import Folder, configured, run_of_call, study_of
from skindiff.api.evaluation import EvaluationReport
from skindiff.api.generators import CLASSIFIER
from skindiff.api.same_data import CORPUS_FILE
from skindiff.api.synthesis import DATA
from skindiff.classification.arm_names import parse_arm
from skindiff.classification.cells import REAL, Cell, CellImages, CellKey, is_probe, load_cell
from skindiff.classification.contrasts import PrimaryContrast
from skindiff.classification.experiment import Predicted
from skindiff.classification.external import ExternalConfig, validate_external
from skindiff.classification.external_sets import ExternalSet, Learnt, find_copied, open_external
from skindiff.classification.networks import DESCRIPTION_FILE, WEIGHTS_FILE, SkinClassifier, load_classifier
from skindiff.classification.prediction import predict
from skindiff.classification.probe import PROBE_FILE, ProbeConfig, load_probe
from skindiff.classification.probing import predict_probe
from skindiff.config import parse_config
from skindiff.corpora.registry import Corpus, CorpusConfig, prepare_corpus
from skindiff.errors import ConfigError, CorpusError, RunFolderError, SynthesisError
from skindiff.evaluation.statistics.paired_bootstrap import result_row
from skindiff.files import at_home
from skindiff.foreign import Malformed, refuse_unlike
from skindiff.foreign_yaml import read_yaml
from skindiff.manifest import DONE, STAGES
from skindiff.measures.copying.rows import CopiedElsewhere
from skindiff.report.content import CorpusContent
from skindiff.report.external import external_content, external_section, group_sections
from skindiff.report.read import REPORT_FILE, read_report
from skindiff.report.write import Report, environment, plain, write_report
from skindiff.runs import CONFIG_FILE, EXTERNAL, RunFolder
from skindiff.study import Study
from skindiff.synthesis.writer import load_synthetic

TITLE = "How do trained classifiers do on another corpus?"


@dataclass(frozen=True)
class _Kept:
    """A classifier that a run has kept.

    Attributes:
        key: of its cells, without a test set.
        here: its predictions on the test images of its study; none of a classifier that was trained alone.
        models: networks whose probabilities are averaged; none of a probe.
        probe: folder of a probe.
        steps: that it was trained for.
    """

    key: CellKey
    here: Sequence[Cell] = ()
    models: Sequence[SkinClassifier] = ()
    probe: Path | None = None
    steps: int = 0


@dataclass
class _OwnCorpus:
    """The corpus of a run."""

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """The images."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        self.corpus.validate(f"{path}corpus.")


@dataclass
class ElsewhereConfig(ExternalConfig):
    """What a finished run is asked about."""

    model: str = ""
    """The finished run, or the folder of a classifier."""
    include_images: bool | None = None
    """Put images of the corpus into the report; null does so only if it shows no patients."""


def evaluate_elsewhere(
    model: str | Path,
    corpus: Corpus,
    classes: Mapping[str, str | None] | None = None,
    name: str | None = None,
    output_dir: Folder = None,
    resume: bool = False,
    replicates: int = 2000,
    **settings: Any,
) -> EvaluationReport:
    """Ask the classifiers of a finished run about the images of another corpus; nothing is trained.

    Example:
        >>> clinic = skindiff.load_corpus("photos", attribute={"column": "sex", ...})
        >>> report = skindiff.evaluate_elsewhere("runs/evaluate", clinic, {"naevus": "nv", "melanoma": "mel"})
        >>> report.content["external"]["beside"]

    Args:
        model: folder of a run of ``skindiff evaluate``, :func:`skindiff.evaluate` (with an ``output_dir``),
            ``skindiff train classifier`` or ``train probe``, of a recipe, or of a classifier.
        corpus: of :func:`skindiff.load_corpus`, all of whose images are tested on but for those that the run
            has too. Its attribute says which groups are told apart.
        classes: what its classes are in the run, such as ``{"naevus": "nv"}``; one that is not named is the
            class of the same name, and None leaves its images out.
        name: of the corpus in the report; what ``load_corpus`` read it by when left out.
        output_dir: folder of the run; by default a temporary one, deleted with the report.
        resume: go on with the run in ``output_dir``.
        replicates: of the bootstrap.
        settings: ``others``, ``ours`` and ``twins_from`` of
            :class:`~skindiff.classification.external.ExternalConfig`, and ``include_images``.

    Returns:
        The report; ``content["external"]`` has scores with intervals, verdicts, the chapter on groups, and
        near copies among the synthetic images of the run.

    Raises:
        ConfigError: the folder holds no classifier, the classes cannot be mapped, or the corpus is none of
            ``load_corpus``.
    """
    if corpus.config is None:
        raise ConfigError("corpus: it is not of load_corpus; load it by that")
    own = ElsewhereConfig(corpus=corpus.config, classes=dict(classes or {}), model=str(at_home(model)))
    config = configured(own, settings)
    called = name or corpus.config.name
    validate_external({called: config}, "name")
    with run_of_call(output_dir, resume, config) as (run, home):
        ask_elsewhere(run, Path(config.model), called, config, config, replicates)
    return EvaluationReport(home.path, read_report(home.path), home)


def ask_elsewhere(
    run: RunFolder, model: Path, name: str, config: ExternalConfig, settings: Any, replicates: int = 2000
) -> Path:
    """Ask the classifiers of a finished run about another corpus, and return the path of the report.

    Args:
        run: where the report comes.
        model: folder of a run of ``skindiff train classifier``, ``train probe`` or ``evaluate``, of a
            recipe, or of a classifier.
        name: of the other corpus in the report.
        config: of the other corpus.
        settings: of the call, for the report; a config.
        replicates: of the bootstrap.

    Raises:
        ConfigError: the folder holds no classifier, or the classes cannot be mapped.
        CorpusError: the other corpus cannot be read.
    """
    with run.withdrawn_on_error():
        kept = _kept_of(model)
        learnt = _learnt(kept, _corpus_of(model, run))
        (one,) = open_external(run, learnt, {name: config}, "mapping")
    there = [_asked(run, own, one, model) for own in kept]
    asked = _question(model)
    here = [cell for own in kept for cell in own.here]
    needy = any(parse_arm(own.key.arm).needs_synthetic for own in kept)
    copies = _copied(run, one, model) if needy else []
    content = external_content([one], here, there, asked, replicates, copies)
    report = Report(
        recipe="evaluate",
        title=TITLE,
        config=asdict(settings),
        splits=[],
        cells=[],
        primary=asked,
        replicates=replicates,
        corpus=cast(CorpusContent, one.counts["corpus"]),
        notes=_notes(kept, here),
        reading=[*run.notes, *one.reading],
        study_sections=[external_section(content), *group_sections(content)],
        extra={"external": content} if content else {},
        timings={"seconds_of_last_call": run.seconds},
    )
    if run.accelerator.is_main_process:
        surroundings = environment(run.accelerator.num_processes, run.accelerator.device.type)
        write_report(run.path, report, include_images=settings.include_images, surroundings=surroundings)
    run.end()
    return run.path / "report.md"


def _notes(kept: Sequence[_Kept], here: Sequence[Cell]) -> list[str]:
    runs = len({own.key.seeds for own in kept})
    notes = [f"{len(kept)} classifiers of a finished run were asked as they are; none was trained."]
    if runs == 1:
        notes.append(
            "One training per arm: the intervals cover the images that are tested, and no other luck."
        )
    if not here:
        notes.append(
            "Predictions on the study's own test images were not kept, so nothing is set beside these."
        )
    return notes


def _asked(run: RunFolder, kept: _Kept, one: ExternalSet, model: Path) -> Cell:
    """Return what a classifier says of the images."""
    own = one.table.collapse(_predictor(run, kept, one, model)(one.images).astype(np.float64))
    images = CellImages.of(one.images, one.attribute.columns)
    return images.cell(kept.key._replace(test_group=one.name), own, kept.steps)


def _copied(run: RunFolder, one: ExternalSet, model: Path) -> list[CopiedElsewhere]:
    """Look for copies of the images among the synthetic ones that a run has kept; the report says what could
    not be searched."""
    kept = sorted(
        place.parent for place in model.glob(f"{STAGES}/*/{DATA}") if (place.parent / DONE).is_file()
    )
    found = []
    for number, folder in enumerate(kept):
        label = f"{folder.name.rpartition('-')[0]}, set {number + 1}"
        try:
            drawn = load_synthetic(folder / DATA)
        except (SynthesisError, RunFolderError) as error:
            run.note(f"Copies of {one.name} among {label} were not searched for: {error}")
            continue
        found.append(find_copied(run, one, drawn, name=label, seed=None))
    if not kept:
        run.note(f"{model.name} has kept no synthetic images: no search for copies of {one.name} among them.")
    return found


def _predictor(run: RunFolder, kept: _Kept, one: ExternalSet, model: Path) -> Predicted:
    if kept.probe is None:

        def mean(images: Dataset) -> np.ndarray:
            found: np.ndarray = np.mean(
                [predict(run.accelerator, own, images) for own in kept.models], axis=0
            )
            return found

        return mean
    place = Corpus(one.images, [], [], one.fingerprint)
    study: Study = study_of(run, place, None)
    config = ProbeConfig(image_size=_probe_size(model))
    return partial(predict_probe, study, kept.key.architecture, config, load_probe(kept.probe))


def _kept_of(model: Path) -> list[_Kept]:
    """Return the classifiers in a folder.

    Raises:
        ConfigError: there is none.
    """
    for folder in (model, model / CLASSIFIER):
        if (folder / DESCRIPTION_FILE).is_file():
            return [_alone(model, load_classifier(folder))]
    if not (model / REPORT_FILE).is_file():
        raise ConfigError(
            f"model: {model} is neither a classifier nor a finished run; give the output_dir of skindiff "
            "train classifier, train probe or evaluate"
        )
    rows = read_report(model)["results"]
    # A run that was gone on with by other settings has stages of both: those that the report is of are meant.
    done = [(file.parent, load_cell(file)) for file in sorted(model.glob(f"{STAGES}/cell-*/*.npz"))]
    cells = [
        (folder, cell)
        for folder, cell in done
        if (folder / DONE).is_file() and plain(result_row(cell)) in rows
    ]
    trainings: dict[tuple[Path, CellKey], list[Cell]] = {}
    for folder, cell in cells:
        trainings.setdefault((folder, cell.key._replace(test_group="")), []).append(cell)
    found = [_of_stage(folder, key, own) for (folder, key), own in trainings.items()]
    kept = [one for one in found if one is not None]
    if not kept or len(kept) < len(found):
        raise ConfigError(
            f"model: {model} has kept the weights of {len(kept)} of {len(found)} classifiers; go on with it "
            "by --resume with the other corpus in --experiment.external, which trains those again"
        )
    return kept


def _alone(model: Path, classifier: SkinClassifier) -> _Kept:
    """Return a classifier that was trained alone, in the arm that its run says."""
    settings = _settings(model / CONFIG_FILE)
    arm = settings.get("arm") or ("real+syn" if settings.get("synthetic") else REAL)
    key = CellKey("", "", None, None, str(arm), None, classifier.architecture.name, "grouped", None, None)
    return _Kept(key, models=[classifier])


def _of_stage(folder: Path, key: CellKey, cells: Sequence[Cell]) -> _Kept | None:
    steps = cells[0].optimiser_steps
    if is_probe(key.architecture):
        return _Kept(key, cells, probe=folder, steps=steps) if (folder / PROBE_FILE).is_file() else None
    folders = [file.parent for file in sorted(folder.rglob(WEIGHTS_FILE))]
    return _Kept(key, cells, [load_classifier(own) for own in folders], steps=steps) if folders else None


def _learnt(kept: Sequence[_Kept], corpus: Corpus | None) -> Learnt:
    if corpus is not None:
        return Learnt.of(corpus)
    first = kept[0]
    if first.models:
        shape = first.models[0].architecture
        return Learnt(shape.class_names, shape.corpus_size or shape.working_size, None)
    return Learnt(first.here[0].class_names, CorpusConfig().image_size, None)


def _corpus_of(model: Path, run: RunFolder) -> Corpus | None:
    """Return the corpus that a run was trained on; None, which the report says, where it is not at hand."""
    own = model / CORPUS_FILE
    content = _settings(own) if own.is_file() else _settings(model / CONFIG_FILE).get("corpus")
    if not isinstance(content, dict) or not content:
        return None
    try:
        with tempfile.TemporaryDirectory() as place:
            nothing, file = Path(place) / "nothing.yaml", Path(place) / "corpus.yaml"
            nothing.write_text("{}\n", encoding="utf-8")
            file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
            config = parse_config(_OwnCorpus, ["--corpus", str(file)], default=nothing)
        # Its groups have no say here, so nothing is audited again.
        known, folder = replace(config.corpus, audit=False), run.path / EXTERNAL / "study-own"
        with run.peers.main_first("reading the corpus of the classifiers"):
            return prepare_corpus(known, folder)
    except (ConfigError, CorpusError) as error:
        run.note(f"The images that {model.name} was trained on are not at hand: {error}")
        return None


def _settings(file: Path) -> dict[str, Any]:
    """Return what a settings file holds, nothing without one."""
    if not file.is_file():
        return {}
    try:
        content = read_yaml(file)
        refuse_unlike({} if content is None else content, dict[str, Any], "what it holds")
    except Malformed as error:
        raise ConfigError(f"model: {file} cannot be read as settings: {error}") from error
    return content or {}


def _probe_size(model: Path) -> int | None:
    experiment = _settings(model / CONFIG_FILE).get("experiment")
    probe = experiment.get("probe") if isinstance(experiment, dict) else None
    size = probe.get("image_size") if isinstance(probe, dict) else None
    config = ProbeConfig(image_size=size if isinstance(size, int) else None)
    config.validate("model: experiment.probe.")
    return config.image_size


def _question(model: Path) -> PrimaryContrast | None:
    """Return the primary contrast of a run, None where it states none."""
    asked = read_report(model).get("primary") if (model / REPORT_FILE).is_file() else None
    if not asked:
        return None
    found = replace(PrimaryContrast(), **asked)
    found.validate("model: primary.")
    return found
