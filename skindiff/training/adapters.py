"""An adapter as a stage of a run: the one way from settings and rows to learnt words or a LoRA."""

from dataclasses import replace

from skindiff.generators.adapter import Adapter, adapter_digest, load_adapter, read_adapter
from skindiff.generators.models import model_revision
from skindiff.generators.resolve import Place
from skindiff.generators.text_to_image.loading import load_pipeline
from skindiff.recorded_settings import recorded
from skindiff.study import Study
from skindiff.training.captions import refuse_unknown_columns
from skindiff.training.lora import LoRAConfig, train_lora
from skindiff.training.precision import check_base_dtype, torch_dtype
from skindiff.training.preparation import refuse_sharding
from skindiff.training.textual_inversion import TextualInversionConfig, train_textual_inversion

ADAPTER = "adapter"


def learn_adapter(
    study: Study,
    config: TextualInversionConfig | LoRAConfig,
    base: Place,
) -> Adapter:
    """Train an adapter once and return it as it stands in the folder of its stage.

    Args:
        study: its training rows are learnt from, and its validation rows (or the training rows, where there
            are none) give the validation loss; its seed is that of a training whose own seed is 0. The
            training is a stage of it, repeated where anything that decides the weights changes.
        config: of textual inversion or of LoRA.
        base: the base model, with the adapter of textual inversion whose words a LoRA is trained with.

    Raises:
        ConfigError: a setting that cannot work, alone or with this model.
        GeneratorError: the model or the words cannot be loaded, or do not fit.
        TrainingError: a class without rows, or a loss that is not finite.
    """
    train, validation, run = study.train, study.validation, study.run
    if isinstance(config, LoRAConfig):  # an error now, not after the model is loaded
        refuse_unknown_columns(config.captions, train, "lora.captions")
    check_base_dtype(config.base_dtype, "base_dtype", run.accelerator.mixed_precision)
    refuse_sharding(run.accelerator)
    config = replace(config, loop=config.loop.in_split(study.seed))
    words, name = base.adapter, model_revision(base.model, base.revision, base.config)
    stage = study.stage(
        "lora" if isinstance(config, LoRAConfig) else "textual-inversion",
        says="LoRA" if isinstance(config, LoRAConfig) else "textual inversion",
        config=recorded(config),
        base=name,
        words=adapter_digest(words) if words else None,
        rows=train["image_id"][:],
        validation=validation["image_id"][:] if validation else None,
        **study.corpus.attribute.record(),
    )
    if not stage.done:
        accelerator, cache = run.accelerator, run.path / "cache"
        # On the CPU at first, where what is in 4 bits goes too once it is made: text encoders come before it.
        pipeline = load_pipeline(
            base.model, revision=base.revision, config=base.config, dtype=torch_dtype(config.base_dtype),
            quantised=config.base_dtype == "nf4",
        )  # fmt: skip
        if isinstance(config, LoRAConfig):
            learnt = load_adapter(pipeline, words) if words else None
            train_lora(
                accelerator, pipeline, config, train, stage.folder,
                learnt=learnt, validation=validation, base_model=name, latent_cache=cache,
                attribute=study.corpus.attribute, crop=study.corpus.crop, unload=True,
            )  # fmt: skip
        else:
            train_textual_inversion(
                accelerator, pipeline, config, train, stage.folder,
                validation=validation, base_model=name, latent_cache=cache,
                attribute=study.corpus.attribute, crop=study.corpus.crop, unload=True,
            )  # fmt: skip
        stage.finish()
    return read_adapter(stage.folder / ADAPTER)
