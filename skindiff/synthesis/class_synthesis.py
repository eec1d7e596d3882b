"""A synthetic data set from a from-scratch generator, as a stage of a run."""

from dataclasses import asdict
from pathlib import Path

from accelerate.logging import get_logger
from datasets import Dataset

from skindiff.errors import GeneratorError, SynthesisError
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.loading import load_by_class
from skindiff.generators.models import model_revision
from skindiff.study import Study
from skindiff.synthesis.class_draw import ClassDrawer
from skindiff.synthesis.class_plan import ClassSynthesisConfig, drawn_features, make_class_plan
from skindiff.synthesis.strategies import Synthetic
from skindiff.synthesis.writer import load_summary, load_synthetic, write_rows

__all__ = ["ClassSynthesisConfig", "draw_by_class", "load_class_pipeline"]

logger = get_logger(__name__)


def draw_by_class(study: Study, pipeline_folder: Path, config: ClassSynthesisConfig) -> Synthetic:
    """Generate a synthetic data set, once for these weights, rows, settings and seed.

    Args:
        study: the synthesis is a stage of it, and one that was killed continues at the first missing shard.
            Budgets may follow the classes of its training rows, and families that reconstruct take them for
            sources; its seed is that of the data set.
        pipeline_folder: as ``save_pretrained`` wrote it.
        config: valid settings.

    Returns:
        What the experiments take; its ``name`` is the family, its ``generator`` the family with a digest of
        the weights.

    Raises:
        ConfigError: the settings do not fit the corpus.
        GeneratorError: the folder holds no class-conditional generator.
        SynthesisError: the generator knows other classes, or nothing could be generated.
    """
    sources, accelerator, seed = study.train, study.accelerator, study.seed
    attribute = study.corpus.attribute
    pipeline = load_class_pipeline(pipeline_folder, sources)
    family = pipeline.family
    generator = f"{family}@{model_revision(str(pipeline_folder)).rpartition('@')[2]}"
    stage = study.run.stage(
        f"synthesis-{family.replace('_', '-')}",
        says=f"generating by {family}",
        config=asdict(config),
        generator=generator,
        rows=sources["image_id"][:],
        seed=seed,
        **({} if attribute.is_skin_tone else {"attribute": attribute.column}),
    )
    folder = stage.folder / "data"
    if not stage.done:
        redraws = pipeline.needs_images
        plan = make_class_plan(
            sources, config, seed=seed, family=family, generator=generator, redraws=redraws,
            attribute=attribute,
        )  # fmt: skip
        pipeline.to(accelerator.device)
        write_rows(
            accelerator,
            plan,
            drawn_features(sources.features["label"].names, attribute),
            folder,
            lambda: ClassDrawer(pipeline, sources if redraws else None),
            rows_per_shard=config.rows_per_shard,
        )
        stage.finish()
    return Synthetic(load_synthetic(folder), folder, family, family, generator, load_summary(folder))


def load_class_pipeline(folder: Path, corpus: Dataset) -> ClassConditionalPipeline:
    """Load a generator that knows the classes of ``corpus``.

    Raises:
        GeneratorError: the folder holds no class-conditional generator.
        SynthesisError: its classes are not those of the corpus, in the same order.
    """
    pipeline = load_by_class(str(folder))
    if not isinstance(pipeline, ClassConditionalPipeline):
        raise GeneratorError(
            f"model {str(folder)!r} is a {type(pipeline).__name__}, which does not generate by class: give a "
            "generator that was trained from scratch"
        )
    own, wanted = list(pipeline.config.class_names), list(corpus.features["label"].names)
    if own != wanted:
        raise SynthesisError(
            f"generator {str(folder)!r} has {len(own)} classes ({', '.join(own)}), but the corpus has "
            f"{len(wanted)} ({', '.join(wanted)}): train one on this corpus"
        )
    return pipeline
