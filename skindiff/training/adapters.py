"""An adapter as a stage of a run: the one way from settings and rows to learnt words or a LoRA."""

from dataclasses import asdict, replace
from pathlib import Path

from datasets import Dataset

from skindiff.generators.adapter import Adapter, adapter_digest, load_adapter, read_adapter
from skindiff.generators.stable_diffusion import load_pipeline, model_revision
from skindiff.runs import RunFolder
from skindiff.training.lora import LoRAConfig, train_lora
from skindiff.training.textual_inversion import TextualInversionConfig, train_textual_inversion

ADAPTER = "adapter"


def learn_adapter(
    run: RunFolder,
    config: TextualInversionConfig | LoRAConfig,
    train: Dataset,
    validation: Dataset | None,
    *,
    model: str,
    revision: str | None,
    corpus_fingerprint: str,
    split_seed: int,
    words: Path | None = None,
) -> Adapter:
    """Train an adapter once and return it as it stands in the folder of its stage.

    Args:
        run: the training is a stage of it, repeated where anything that decides the weights changes.
        config: of textual inversion or of LoRA.
        train: rows to learn from.
        validation: held-out rows for the validation loss; without them it is taken on the training rows.
        model: what :func:`skindiff.generators.stable_diffusion.load_pipeline` takes.
        revision: branch, tag or commit of a Hub model.
        corpus_fingerprint: fingerprint of the corpus that the rows come from.
        split_seed: seed of the split that the rows come from, for a training whose own seed is 0.
        words: adapter of textual inversion whose words a LoRA is trained with.

    Raises:
        ConfigError: a setting that cannot work, alone or with this model.
        GeneratorError: the model or the words cannot be loaded, or do not fit.
        TrainingError: a class without rows, or a loss that is not finite.
    """
    config = replace(config, loop=config.loop.in_split(split_seed))
    base = model_revision(model, revision)
    stage = run.stage(
        "lora" if isinstance(config, LoRAConfig) else "textual-inversion",
        config=asdict(config),
        base=base,
        words=adapter_digest(words) if words else None,
        data=corpus_fingerprint,
        rows=list(train["image_id"]),
        validation=list(validation["image_id"]) if validation else None,
    )
    if not stage.done:
        accelerator, cache = run.accelerator, run.path / "cache"
        pipeline = load_pipeline(model, revision=revision, device=accelerator.device)
        if isinstance(config, LoRAConfig):
            learnt = load_adapter(pipeline, words) if words else None
            train_lora(
                accelerator, pipeline, config, train, stage.folder,
                learnt=learnt, validation=validation, base_model=base, latent_cache=cache,
            )  # fmt: skip
        else:
            train_textual_inversion(
                accelerator, pipeline, config, train, stage.folder,
                validation=validation, base_model=base, latent_cache=cache,
            )  # fmt: skip
        stage.finish()
    return read_adapter(stage.folder / ADAPTER)
