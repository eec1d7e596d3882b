"""Generators, loaded or trained, from a notebook."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffusers.utils.torch_utils import get_device

from skindiff.api.calls import Folder, Home, configured, run_of_call, study_of
from skindiff.classification.networks import DESCRIPTION_FILE, load_classifier
from skindiff.corpora.registry import Corpus
from skindiff.corpora.splits import Split
from skindiff.errors import ConfigError
from skindiff.files import at_home
from skindiff.generators.adapter import read_adapter
from skindiff.generators.families import find_family
from skindiff.generators.models import DEFAULT_MODEL
from skindiff.generators.resolve import Generator, Place, find_generator, load_generator
from skindiff.generators.text_to_image.loading import check_text_to_image
from skindiff.runs import RunFolder
from skindiff.study import Study
from skindiff.synthesis.config import DTYPES
from skindiff.training.adapters import learn_adapter
from skindiff.training.from_scratch import FromScratchConfig, train_from_scratch
from skindiff.training.lora import LoRAConfig
from skindiff.training.products import publish, record_rows
from skindiff.training.textual_inversion import TextualInversionConfig

CLASSIFIER = "classifier"


def load(
    source: str | Path,
    revision: str | None = None,
    base_model: str | None = None,
    model_config: str | None = None,
) -> Any:
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
            ``skindiff train``; a whole Stable Diffusion in one ``.safetensors`` file; or the Hub id of a
            pipeline or an adapter, with ``@revision`` or without.
        revision: branch, tag or commit of a Hub id; not for folders.
        base_model: what an adapter is put on, where its own record of it is no Hub id; the LoRA file of
            another program (kohya, ai-toolkit, diffusers, PEFT) needs it.
        model_config: settings of a Stable Diffusion in one file: the folder of a saved pipeline, or sd15,
            sd21-base, sd21 or sdxl; by default what fits the file.

    Returns:
        A pipeline of diffusers or of the family that its index names; of a classifier's folder a
        :class:`~skindiff.classification.networks.SkinClassifier`.

    Raises:
        GeneratorError: there is no such generator, it is of an architecture not known here, an adapter was
            trained on a model that is not to be found, or a file is missing or does not fit the rest.
    """
    source = at_home(source)
    for folder in (Path(source), Path(source) / CLASSIFIER):
        if (folder / DESCRIPTION_FILE).is_file():
            return load_classifier(folder)
    place = find_generator(str(source), revision, base_model, model_config)
    if base_model and not place.adapter:
        raise ConfigError(f"base_model: {str(source)!r} is no adapter and needs none; leave it out")
    return load_generator(place).pipeline


def place_of(generator: Any) -> Place:
    """Return where a generator lies, which is given as for :func:`generator_of`."""
    if isinstance(generator, Place):
        return generator
    is_word = isinstance(generator, str | Path)
    return find_generator(str(generator)) if is_word else generator_of(generator).place


def generator_of(generator: Any, dtype: str = "float32", offload: bool = False) -> Generator:
    """Return what is known of a generator, given as a pipeline of :func:`load`, as what it takes, or as its
    place.

    Args:
        generator: the same.
        dtype: precision to load it in where it is not loaded, see
            :class:`~skindiff.synthesis.config.SynthesisConfig`; it is put on the GPU where there is one.
        offload: leave it on the CPU then.

    Raises:
        ConfigError: a pipeline that was loaded by something else, or a precision that is unknown.
    """
    if isinstance(generator, Generator):
        return generator
    if dtype not in DTYPES:
        raise ConfigError(f"dtype: {dtype!r} is unknown; use one of {', '.join(DTYPES)}")
    if isinstance(generator, str | Path):
        generator = find_generator(str(at_home(generator)))
    if isinstance(generator, Place):
        return load_generator(generator, "cpu" if offload else get_device(), dtype=DTYPES[dtype])
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
    base: Any = DEFAULT_MODEL,
    revision: str | None = None,
    output_dir: Folder = None,
    resume: bool = False,
    model_config: str | None = None,
    **settings: Any,
) -> Any:
    """Learn a new word for each class of a corpus, and return the base model with them.

    Example:
        >>> pipeline = skindiff.train_textual_inversion(corpus, split, "bundled", steps=40, batch_size=14)

    Args:
        corpus: of :func:`skindiff.load_corpus`.
        split: whose training rows are learnt from; all of the corpus when left out.
        base: Stable Diffusion to start from: a folder, a ``.safetensors`` file, a Hub id, or ``bundled``.
        revision: branch, tag or commit of a Hub model.
        output_dir: folder of the run; by default a temporary one, deleted with the pipeline. Of a study the
            training becomes a stage, and what is returned is the place of the generator, not loaded yet.
        resume: go on with the training in ``output_dir``.
        model_config: settings of a base in one file, as :func:`load` takes them.
        settings: of :class:`~skindiff.training.textual_inversion.TextualInversionConfig` and its loop.

    Raises:
        ConfigError, GeneratorError, TrainingError: a setting, the base or the training rows cannot be used.
    """
    config = configured(TextualInversionConfig(), settings)
    place = _base(base, revision, model_config)
    if place.adapter is not None:
        raise ConfigError(
            f"base: {place.adapter} is an adapter, and words are learnt on a whole model; give that"
        )
    return _adapter(config, corpus, split, place, output_dir, resume)


def train_lora(
    corpus: Corpus,
    split: Split | None = None,
    base: Any = DEFAULT_MODEL,
    revision: str | None = None,
    output_dir: Folder = None,
    resume: bool = False,
    model_config: str | None = None,
    **settings: Any,
) -> Any:
    """Train low-rank updates on a corpus, and return the base model with them.

    Example:
        >>> words = skindiff.train_textual_inversion(corpus, split, "bundled")
        >>> pipeline = skindiff.train_lora(corpus, split, words, steps=60, rank=8, learning_rate=1e-3)

    Args:
        corpus: of :func:`skindiff.load_corpus`.
        split: whose training rows are learnt from; all of the corpus when left out.
        base: Stable Diffusion to start from: a folder, a ``.safetensors`` file, a Hub id, ``bundled``; or
            what :func:`train_textual_inversion` returned, or the folder of its run, whose words the prompts
            hold.
        revision: branch, tag or commit of a Hub model.
        output_dir: folder of the run; by default a temporary one, deleted with the pipeline. Of a study the
            training becomes a stage, and what is returned is the place of the generator, not loaded yet.
        resume: go on with the training in ``output_dir``.
        model_config: settings of a base in one file, as :func:`load` takes them.
        settings: of :class:`~skindiff.training.lora.LoRAConfig` and its loop.

    Raises:
        ConfigError, GeneratorError, TrainingError: a setting, the base or the training rows cannot be used.
    """
    config = configured(LoRAConfig(), settings)
    place = _base(base, revision, model_config)
    if place.adapter is not None and read_adapter(place.adapter).has_lora:
        raise ConfigError(f"base: {place.adapter} has a LoRA already; give the words of textual inversion")
    return _adapter(config, corpus, split, place, output_dir, resume)


@dataclass
class AdapterTraining:
    """What an adapter was trained with, as it is kept beside it."""

    model: str
    revision: str | None
    model_config: str | None
    training: TextualInversionConfig | LoRAConfig


def _base(base: Any, revision: str | None, config: str | None) -> Place:
    """Return where what an adapter is trained on lies: a word, a place, or a pipeline of :func:`load`."""
    if isinstance(base, str | Path):
        return find_generator(str(base), revision, config=config)
    return place_of(base)


def _adapter(
    config: TextualInversionConfig | LoRAConfig,
    corpus: Corpus,
    split: Split | None,
    base: Place,
    output_dir: Folder,
    resume: bool,
) -> Any:
    check_text_to_image(base.model, base.revision, base.config)
    training = AdapterTraining(base.model, base.revision, base.config, config)
    with run_of_call(output_dir, resume, training) as (run, home):
        config.loop.shared_by(run.accelerator.num_processes)  # an error comes before anything is loaded
        seed = output_dir.seed if isinstance(output_dir, Study) else None
        study = study_of(run, corpus, split, seed)
        adapter = learn_adapter(study, config, base)
        folder = _shown(output_dir, adapter.folder, run)
        record_rows(study, folder, base.adapter)
        place = replace(base, adapter=folder)
        if isinstance(output_dir, Study):
            return place
        pipeline = load_generator(place).pipeline
    return owning(pipeline, home)


def train_generator(
    corpus: Corpus,
    split: Split | None = None,
    family: str = "ddpm",
    seed: int = 0,
    output_dir: Folder = None,
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
        output_dir: folder of the run; by default a temporary one, deleted with the pipeline. Of a study the
            training becomes a stage, and what is returned is the place of the generator, not loaded yet.
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
        folder = _shown(output_dir, train_from_scratch(study, config), run)
        record_rows(study, folder)
        place = Place(str(folder))
        if isinstance(output_dir, Study):
            return place
        pipeline = load_generator(place).pipeline
    return owning(pipeline, home)


def _shown(output_dir: Folder, folder: Path, run: RunFolder) -> Path:
    """Return where a trained artefact lies: in its stage, or at the top of a run that has no other."""
    if isinstance(output_dir, Study):
        return folder
    return publish(folder, run.path / folder.name, run.accelerator)


def owning(result: Any, home: Home) -> Any:
    """Let a result hold the folder it lies in, which goes with it if it is temporary."""
    result.skindiff_home = home
    return result
