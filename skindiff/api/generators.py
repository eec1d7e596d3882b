"""Generators and classifiers, loaded or trained, from a notebook."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skindiff.api.calls import Home, configured, run_of_call, study_of
from skindiff.classification.arms import build_arm
from skindiff.classification.classifier_config import ClassifierConfig, settings_of
from skindiff.classification.fine_tuning import train_classifier as fine_tune
from skindiff.classification.networks import DESCRIPTION_FILE, SkinClassifier, load_classifier
from skindiff.classification.provenance import refuse_taught
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError
from skindiff.generators.families import find_family
from skindiff.generators.models import DEFAULT_MODEL
from skindiff.generators.resolve import Generator, Place, find_generator, load_generator
from skindiff.generators.text_to_image.loading import check_text_to_image
from skindiff.study import Study
from skindiff.training.adapters import ADAPTER, learn_adapter
from skindiff.training.from_scratch import PIPELINE, FromScratchConfig, train_from_scratch
from skindiff.training.lora import LoRAConfig
from skindiff.training.products import RECORD, publish, record_rows
from skindiff.training.textual_inversion import TextualInversionConfig

CLASSIFIER = "classifier"


def load(source: str | Path, revision: str | None = None) -> Any:
    """Load any generator, ready to generate, or a classifier: float32, on the CPU, in evaluation mode.

    A generator is the pipeline itself. What is known of it travels as ``pipeline.skindiff``: the learned
    tokens, the base model and the ``id@revision``. An adapter is put on the model that it was trained on, at
    the revision it recorded, and stays apart from the weights (``pipeline.unload_lora_weights()``).

    Example:
        >>> pipeline = skindiff.load("runs/lora")
        >>> pipeline("An image of <skindiff-nodule> on the skin of a dark-skinned individual").images[0]
        >>> pipeline.skindiff.name, pipeline.skindiff.subjects

    Args:
        source: ``bundled``; a folder of a pipeline, of an adapter, of a classifier, or of a run of
            ``skindiff train``; or the Hub id of a pipeline or an adapter, with ``@revision`` or without.
        revision: branch, tag or commit of a Hub id; not for folders.

    Returns:
        A pipeline of diffusers or of the family that its index names; of a classifier's folder a
        :class:`~skindiff.classification.networks.SkinClassifier`.

    Raises:
        GeneratorError: there is no such generator, it is of an architecture not known here, an adapter was
            trained on a model that is not to be found, or a file is missing or does not fit the rest.
    """
    for folder in (Path(source), Path(source) / CLASSIFIER):
        if (folder / DESCRIPTION_FILE).is_file():
            return load_classifier(folder)
    return load_generator(find_generator(str(source), revision)).pipeline


def generator_of(generator: Any) -> Generator:
    """Return what is known of a generator, given as a pipeline of :func:`load` or as what it takes.

    Raises:
        ConfigError: a pipeline that was loaded by something else.
    """
    if isinstance(generator, str | Path):
        generator = load(generator)
    known = getattr(generator, "skindiff", None)
    if not isinstance(known, Generator):
        raise ConfigError(
            f"generator: a {type(generator).__name__} that skindiff did not load; give what skindiff.load "
            "takes or returns"
        )
    return known


def train_textual_inversion(
    corpus: Corpus,
    split: Split | None = None,
    base: str = DEFAULT_MODEL,
    revision: str | None = None,
    output_dir: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> Any:
    """Learn a new word for each class of a corpus, and return the base model with them.

    Example:
        >>> pipeline = skindiff.train_textual_inversion(corpus, split, "bundled", steps=40, batch_size=14)

    Args:
        corpus: of :func:`skindiff.load_corpus`.
        split: whose training rows are learnt from; all of the corpus when left out.
        base: Stable Diffusion to start from: a folder, a Hub id, or ``bundled``.
        revision: branch, tag or commit of a Hub model.
        output_dir: folder of the run; by default a temporary one, deleted with the pipeline.
        resume: go on with the training in ``output_dir``.
        settings: of :class:`~skindiff.training.textual_inversion.TextualInversionConfig` and its loop.

    Raises:
        ConfigError, GeneratorError, TrainingError: a setting, the base or the training rows cannot be used.
    """
    config = configured(TextualInversionConfig(), settings)
    return _adapter(config, corpus, split, base, revision, None, output_dir, resume)


def train_lora(
    corpus: Corpus,
    split: Split | None = None,
    base: Any = DEFAULT_MODEL,
    revision: str | None = None,
    output_dir: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> Any:
    """Train low-rank updates on a corpus, and return the base model with them.

    Example:
        >>> words = skindiff.train_textual_inversion(corpus, split, "bundled")
        >>> pipeline = skindiff.train_lora(corpus, split, words, steps=60, rank=8, learning_rate=1e-3)

    Args:
        corpus: of :func:`skindiff.load_corpus`.
        split: whose training rows are learnt from; all of the corpus when left out.
        base: Stable Diffusion to start from: a folder, a Hub id, ``bundled``, or what
            :func:`train_textual_inversion` returned, whose words the prompts then hold.
        revision: branch, tag or commit of a Hub model.
        output_dir: folder of the run; by default a temporary one, deleted with the pipeline.
        resume: go on with the training in ``output_dir``.
        settings: of :class:`~skindiff.training.lora.LoRAConfig` and its loop.

    Raises:
        ConfigError, GeneratorError, TrainingError: a setting, the base or the training rows cannot be used.
    """
    config, words = configured(LoRAConfig(), settings), None
    if not isinstance(base, str | Path):
        known = generator_of(base)
        if known.adapter is None or known.adapter.has_lora:
            raise ConfigError("base: give a model by its name, or what train_textual_inversion returned")
        words, base, revision = known.adapter.folder, known.place.model, known.place.revision
    return _adapter(config, corpus, split, str(base), revision, words, output_dir, resume)


def _adapter(
    config: TextualInversionConfig | LoRAConfig,
    corpus: Corpus,
    split: Split | None,
    base: str,
    revision: str | None,
    words: Path | None,
    output_dir: str | Path | None,
    resume: bool,
) -> Any:
    check_text_to_image(base, revision)
    with run_of_call(output_dir, resume, config) as (run, home):
        study = study_of(run, corpus, split)
        adapter = learn_adapter(study, config, model=base, revision=revision, words=words)
        folder = publish(adapter.folder, run.path / ADAPTER, run.accelerator)
        record_rows(study, words)
        generator = load_generator(Place(base, revision, folder))
    return _owning(generator.pipeline, home)


def train_generator(
    corpus: Corpus,
    split: Split | None = None,
    family: str = "ddpm",
    seed: int = 0,
    output_dir: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> Any:
    """Train a class-conditional generator on a corpus alone, and return its pipeline.

    Example:
        >>> pipeline = skindiff.train_generator(corpus, split, "ddpm", image_size=32, steps=300)
        >>> pipeline(["nodule", "ring"]).images

    Args:
        corpus: of :func:`skindiff.load_corpus`.
        split: whose training rows are learnt from; all of the corpus when left out.
        family: a name of :data:`skindiff.generators.families.FAMILIES`.
        seed: of initial weights, batches and noise.
        output_dir: folder of the run; by default a temporary one, deleted with the pipeline.
        resume: go on with the training in ``output_dir``.
        settings: of the family and its loop.

    Raises:
        ConfigError, TrainingError: the family, a setting or the training rows cannot be used.
    """
    find_family(family)
    config = FromScratchConfig(family=family)
    own: Mapping[str, Any] = {family: configured(config.own, settings)}
    config = FromScratchConfig(family=family, **own)
    with run_of_call(output_dir, resume, config) as (run, home):
        study = study_of(run, corpus, split, seed)
        folder = publish(train_from_scratch(study, config), run.path / PIPELINE, run.accelerator)
        record_rows(study)
        pipeline = load_generator(Place(str(folder))).pipeline
    return _owning(pipeline, home)


def train_classifier(
    corpus: Corpus,
    split: Split,
    synthetic: Any = None,
    arm: str | None = None,
    seed: int = 0,
    output_dir: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> SkinClassifier:
    """Train one classifier; :func:`skindiff.evaluate` is what says whether synthetic images help.

    Example:
        >>> classifier = skindiff.train_classifier(corpus, split, architecture="resnet18", steps=400)
        >>> classifier.predict(corpus.dataset.select(split.test["all"]))

    Args:
        corpus: of :func:`skindiff.load_corpus`.
        split: whose training rows are learnt from, and whose validation rows choose the weights.
        synthetic: of :func:`skindiff.generate` or :func:`skindiff.transfer`, to train on too.
        arm: which images are trained on: ``real``, ``syn``, ``real+syn`` or ``real+duplicates``; ``real+syn``
            where there are synthetic images, and ``real`` otherwise.
        seed: of initial weights, batches and augmentations.
        output_dir: folder of the run; by default a temporary one, deleted with the classifier.
        resume: go on with the training in ``output_dir``.
        settings: of :class:`~skindiff.classification.classifier_config.ClassifierConfig` and its loop.

    Raises:
        ConfigError, TrainingError: a setting or the training rows cannot be used.
    """
    config = configured(ClassifierConfig(keep_weights=True), settings)
    arm = arm or ("real+syn" if synthetic is not None else "real")
    with run_of_call(output_dir, resume, config) as (run, home):
        study = study_of(run, corpus, split, seed)
        drawn = None if synthetic is None else synthetic.dataset
        if synthetic is not None:
            refuse_taught(drawn, corpus.dataset, split, synthetic.folder / RECORD)
        rows = build_arm(arm, study.train, drawn, seed=split.seed)
        stage = _classifier_stage(study, config, arm, drawn)
        if not stage.done:
            fine_tune(run.accelerator, config, rows, study.validation, corpus.class_names, stage.folder, seed)
            stage.finish()
        classifier = load_classifier(publish(stage.folder, run.path / CLASSIFIER, run.accelerator))
    return _owning(classifier, home)


def _classifier_stage(study: Study, config: ClassifierConfig, arm: str, drawn: Any) -> Any:
    return study.stage(
        CLASSIFIER,
        arm=arm,
        classifier=settings_of(config),
        train=study.split.train,
        validation=study.split.validation,
        synthetic=None if drawn is None else list(drawn["image_id"]),
        seed=study.seed,
    )


def _owning(result: Any, home: Home) -> Any:
    """Let a result hold the folder it lies in, which goes with it if it is temporary."""
    result.skindiff_home = home
    return result
