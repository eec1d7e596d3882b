"""LoRA: low-rank updates of the denoising network's attention, trained on prompts that hold the learnt words.

Hu et al. 2022 (arXiv 2106.09685); scaled as Kalajdzievski 2023 (arXiv 2312.03732) or with norms as Liu et al.
2024 (arXiv 2402.09353) on demand. Neither the autoencoder nor (while it is frozen) the text encoder runs in
a training step: latent moments and prompt embeddings are computed once.
"""

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from datasets import Dataset
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from torch import nn

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.crops import CropKind
from skindiff.errors import ConfigError, GeneratorError
from skindiff.generators.adapter import (
    ADAPTER_NAME,
    Adapter,
    check_no_adapter,
    crop_record,
    pipeline_state,
    save_adapter,
    use_zero_terminal_snr,
)
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.generators.tokens import TokenMap, token_ids
from skindiff.recorded_settings import LATER, recorded
from skindiff.seeding import derive_seed
from skindiff.training.captions import cut_captions, refuse_unknown_columns, validate_captions
from skindiff.training.denoising_task import (
    DenoisingTask,
    GridSampler,
    base_weights,
    batches_of,
    check_common_settings,
    compiled_blocks,
    encode_once,
    gradient_checkpointing,
    training_size,
)
from skindiff.training.encoding import Precision
from skindiff.training.flow_objective import FlowConfig
from skindiff.training.framings import image_conditions
from skindiff.training.loop import train
from skindiff.training.loop_config import LoopConfig
from skindiff.training.merged_lora import merged_updates
from skindiff.training.objectives import objective_of
from skindiff.training.precision import BaseDtype, check_base_dtype
from skindiff.training.prompt_table import prompt_table
from skindiff.training.sample_grid import grid_prompts
from skindiff.training.samplers import shuffled_batches
from skindiff.wrong_settings import refuse

NAME = "lora"


@dataclass
class LoRAConfig:
    """How the low-rank updates are trained."""

    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=3000, batch_size=4, learning_rate=1e-4, max_grad_norm=1.0)
    )
    """Length, batch, learning rate, clipping and averaging."""
    rank: int = 8
    """Rank of each update."""
    alpha: float = 8.0
    """Each update is scaled by alpha / rank."""
    use_rslora: bool = field(default=False, metadata=LATER)
    """Scale each update by alpha / sqrt(rank) instead (rank-stabilised LoRA), so that it does not fade as the
    rank grows."""
    use_dora: bool = field(default=False, metadata=LATER)
    """Learn the norm of each row of the updated weights too (DoRA); slower, and not exported to ComfyUI and
    A1111."""
    dropout: float = 0.0
    """Dropout on the input of each update."""
    targets: list[str] = field(default_factory=lambda: ["to_q", "to_k", "to_v", "to_out.0"])
    """Layers of the network that denoises (U-Net, transformer), by the end of their names."""
    train_text_encoder: bool = False
    """Train the CLIP text encoders too; prompts are then encoded in each step."""
    text_encoder_targets: list[str] = field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj", "out_proj"]
    )
    """Layers of the text encoder, by the end of their names."""
    mention_tone: bool = True
    """Name the tone of the skin, or what else corpus.attribute is, in the prompts where it is known."""
    captions: list[str] = field(default_factory=list, metadata=LATER)
    """What prompts say after class and tone, by columns of the corpus in braces, such as ["{site}", "{age}
    years old"]; a part with a cell that is not recorded is left out. Captions that are too long for a text
    encoder are cut there and counted."""
    image_size: int | None = None
    """Height and width of the training images in pixels; null is the size that the model was made for."""
    random_flip: bool = True
    """Show mirror images half of the time."""
    latent_precision: Precision = field(default="float32", metadata=LATER)
    """What encoded images are kept in on the disk: float32, or float16 in half of the space."""
    min_snr_gamma: float = 0.0
    """Bound of the min-SNR weighting (5 is its authors' choice); 0 weighs all timesteps alike."""
    noise_offset: float = 0.0
    """Standard deviation of the noise added to each latent channel's mean, which lets the tone move."""
    zero_terminal_snr: bool = False
    """End the noise schedule in pure noise; only for models that predict v_prediction."""
    flow: FlowConfig = field(default_factory=FlowConfig, metadata=LATER)
    """Noise levels of models that learn by flow matching."""
    prompt_dropout: float = 0.0
    """Share of the examples that see the empty prompt, which guidance is measured against."""
    gradient_checkpointing: bool = False
    """Trade speed for memory in the network that denoises."""
    compile_blocks: bool = field(default=False, metadata=LATER)
    """Compile the blocks that the network repeats: a minute at the start for faster steps on a GPU. Losses
    differ in rounding."""
    base_dtype: BaseDtype = field(default="float32", metadata=LATER)
    """Precision of the frozen base model: float32; bfloat16 or float16, which take half the memory (float16
    with --mixed_precision fp16); or nf4, 4 bits for each weight of the network that denoises, by bitsandbytes
    on CUDA. The autoencoder, text encoders that can learn words and the LoRA stay in float32."""
    validation_examples: int = 128
    """Pairs of image and timestep of the validation loss; 0 switches it off."""
    sample_every: int = 0
    """Optimiser steps between sample grids, a multiple of loop.validate_every; 0 makes none."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        check_common_settings(self, path)
        if self.rank < 1:
            refuse(f"{path}rank is {self.rank}: set it to at least 1")
        if not 0 < self.alpha < float("inf"):
            refuse(f"{path}alpha is {self.alpha}: set it above 0, such as {path}rank={self.rank}")
        for name in ("dropout", "prompt_dropout"):
            if not 0 <= getattr(self, name) < 1:
                refuse(f"{path}{name} is {getattr(self, name)}: set it to at least 0 and below 1")
        if not 0 <= self.min_snr_gamma < float("inf"):
            refuse(f"{path}min_snr_gamma is {self.min_snr_gamma}: set it above 0, or 0 for off")
        if self.use_dora and self.train_text_encoder:
            refuse(
                f"{path}use_dora is true, but diffusers loses its norms in text encoders, which {path}"
                "train_text_encoder trains too: set one of them to false"
            )
        validate_captions(self.captions, f"{path}captions")
        for name in ("targets", "text_encoder_targets"):
            if not getattr(self, name):
                refuse(f"{path}{name} is empty: name at least one layer, such as to_q or q_proj")


def paper_lora() -> LoRAConfig:
    """Return the settings of the paper's code (notebooks/finetune.ipynb): rank 8, 5e-6, 3,000 steps, 512 px.

    A step has 4 images, none mirrored. It crops 512 px at random out of images whose shorter side is 512 px;
    here they are cut to the central square when the corpus is read.
    """
    loop = LoopConfig(
        steps=3000,
        batch_size=4,
        global_batch_size=4,
        learning_rate=5e-6,
        lr_schedule="constant",
        max_grad_norm=1.0,
    )
    return LoRAConfig(loop=loop, rank=8, alpha=8.0, image_size=512, random_flip=False)


def train_lora(
    accelerator: Accelerator,
    pipeline: Any,
    config: LoRAConfig,
    dataset: Dataset,
    folder: Path,
    *,
    learnt: Adapter | None = None,
    validation: Dataset | None = None,
    base_model: str | None = None,
    latent_cache: Path | None = None,
    attribute: Attribute = SKIN_TYPE,
    crop: CropKind = "centre",
    unload: bool = False,
) -> Adapter:
    """Train a LoRA of ``pipeline`` on ``dataset`` and save it, with the learnt words, to ``folder/adapter``.

    The pipeline is moved to the accelerator's device and carries the LoRA afterwards. Killed at any moment
    and called again with a fresh pipeline, it continues from the newest checkpoint in ``folder``.

    Args:
        accelerator: gives device, precision and processes.
        pipeline: without LoRA; its weights keep their precision, the LoRA is float32.
        config: see :class:`LoRAConfig`.
        dataset: training rows of the schema.
        folder: for checkpoints, sample grids and the adapter.
        learnt: the words that ``pipeline`` has learnt by textual inversion; without them the prompts call
            each condition by its name.
        validation: held-out rows for the validation loss; without them it is taken on the training rows.
        base_model: ``id@revision`` for the record.
        latent_cache: folder of the encoded images, which trainings on the same rows can share; ``folder`` by
            default.
        attribute: of the rows, what prompts name.
        crop: of the rows, for the record.
        unload: unload each frozen text encoder, and the autoencoder, once it has encoded prompts or images,
            unless sample grids are made; the pipeline cannot draw afterwards.

    Raises:
        ConfigError: a setting that cannot work, alone or with this model.
        GeneratorError: the pipeline carries a LoRA, or lacks a learnt word.
        TrainingError: a loss that is not finite.
    """
    config.validate()
    check_base_dtype(config.base_dtype, "lora.base_dtype", accelerator.mixed_precision)
    refuse_unknown_columns(config.captions, dataset, "lora.captions")
    check_no_adapter(pipeline)
    _networks(pipeline, config)  # refuses targets that are not there before images are encoded
    tokens = _words(pipeline, dataset, learnt)
    before = learnt.before if learnt else pipeline_state(pipeline)
    weights = base_weights(pipeline)
    task = _task(
        accelerator, pipeline, config, [dataset, *filter(None, [validation])], tokens, attribute,
        latent_cache or folder, unload=unload,
    )  # fmt: skip
    cut = cut_captions(pipeline, task.table.prompts, task.table.rows[0]) if config.captions else {}
    context = task.fingerprint(weights, recorded(config))
    if config.zero_terminal_snr:
        use_zero_terminal_snr(pipeline)
    add_lora(pipeline, config)
    loop = config.loop
    module = architecture_of(pipeline).denoiser(
        pipeline, live_text=config.train_text_encoder, guidance=config.flow.guidance
    )
    with (
        gradient_checkpointing(pipeline, config.gradient_checkpointing),
        compiled_blocks(pipeline, config.compile_blocks),
        _fast_pass(accelerator, module),
    ):
        log = train(
            accelerator,
            loop,
            module=module,
            loss=task.loss,
            sampler=batches_of(
                dataset,
                training_size(pipeline, config),
                architecture_of(pipeline).size_step(pipeline),
                loop.global_batch(accelerator.num_processes),
                lambda batch: shuffled_batches(len(dataset), batch, NAME, loop.seed),
                len(dataset),
                NAME,
                loop.seed,
            ),
            folder=folder,
            name=NAME,
            validate=task.validate if config.validation_examples else None,
            on_validate=_grids(pipeline, config, tokens, attribute, dataset, folder)
            if config.sample_every
            else None,
            context=context,
        )
    for module in architecture_of(pipeline).networks(pipeline):
        module.requires_grad_(False)
    base_class = architecture_of(pipeline).class_names[0]
    record = {
        **(learnt.config if learnt else {}),
        "base_model": base_model,
        "base_class": base_class,
        NAME: recorded(config),
        **({"cut_captions": cut} if config.captions else {}),
        **attribute.record(),
        **crop_record(crop),
    }
    stages = [*(learnt.log if learnt else []), *({"stage": NAME, **row} for row in log)]
    adapter = Adapter(folder / "adapter", tokens, config=record, log=stages, has_lora=True, before=before)
    if accelerator.is_main_process:
        save_adapter(adapter, pipeline)
    accelerator.wait_for_everyone()
    return adapter


def _words(pipeline: Any, dataset: Dataset, learnt: Adapter | None) -> TokenMap:
    """Return the learnt words, after seeing that the pipeline and every condition of the corpus has one."""
    tokens = learnt.tokens if learnt else TokenMap({})
    token_ids(pipeline, tokens)
    unlearnt = set(dataset.features["label"].names) - set(tokens.tokens)
    if learnt and unlearnt:
        raise GeneratorError(
            f"condition {min(unlearnt)!r} has no word in {str(learnt.folder)!r}: learn this corpus, "
            "or train without words"
        )
    return tokens


def _networks(pipeline: Any, config: LoRAConfig) -> list[tuple[str, Any, list[str]]]:
    """Return the prefix of each network that gets a LoRA, the network, and where in it."""
    architecture = architecture_of(pipeline)
    (first, denoiser), *texts = architecture.adaptable(pipeline).items()
    if config.train_text_encoder and not texts:
        raise ConfigError(
            f"train_text_encoder is true, but diffusers loads no LoRA of {architecture.name}'s text encoder: "
            "set it to false"
        )
    found = [("targets", first, denoiser, config.targets)]
    if config.train_text_encoder:
        found += [("text_encoder_targets", *text, config.text_encoder_targets) for text in texts]
    for setting, _, network, targets in found:
        names = [name for name, _ in network.named_modules()]
        for target in targets:
            if not any(name == target or name.endswith(f".{target}") for name in names):
                raise ConfigError(
                    f"{setting} holds {target!r}, but no layer of {type(network).__name__} ends in it: leave "
                    "it out"
                )
    return [place[1:] for place in found]


def add_lora(pipeline: Any, config: LoRAConfig) -> None:
    """Put fresh LoRA layers, in float32 and trainable, into the networks that ``config`` names.

    Their first weights depend on ``config.loop.seed`` alone.

    Raises:
        ConfigError: no layer of the network ends in one of the targets.
    """
    architecture = architecture_of(pipeline)
    networks = _networks(pipeline, config)
    for module in architecture.networks(pipeline):
        module.requires_grad_(False)
    unread = architecture.unread_layers(pipeline)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(NAME, config.loop.seed, "first weights"))
        for prefix, network, targets in networks:
            names = [name for name, _ in network.named_modules()]
            ends = tuple(f".{target}" for target in targets)
            taken = any(re.fullmatch(unread.get(prefix, ""), name) for name in names if name.endswith(ends))
            layers = LoraConfig(
                r=config.rank,
                lora_alpha=config.alpha,  # type: ignore[arg-type]  # PEFT divides it by the rank
                lora_dropout=config.dropout,
                target_modules=sorted(targets),
                exclude_modules=unread[prefix] if taken else None,  # PEFT warns where there is none
                init_lora_weights="gaussian",
                use_rslora=config.use_rslora,
                use_dora=config.use_dora,
            )
            network.add_adapter(layers, adapter_name=ADAPTER_NAME)
            cast_training_params(network, dtype=torch.float32)


def _fast_pass(accelerator: Accelerator, module: nn.Module) -> AbstractContextManager[None]:
    """Merge the updates into the weights while training, unless autocast would round the sums."""
    return merged_updates(module, ADAPTER_NAME) if accelerator.mixed_precision == "no" else nullcontext()


def _task(
    accelerator: Accelerator,
    pipeline: Any,
    config: LoRAConfig,
    tables: list[Dataset],
    tokens: TokenMap,
    attribute: Attribute,
    cache: Path,
    *,
    unload: bool,
) -> DenoisingTask:
    named = attribute if config.mention_tone else None
    table = prompt_table(tables, tokens, named, config.captions)
    architecture = architecture_of(pipeline)
    objective = objective_of(
        pipeline,
        config.flow,
        noise_offset=config.noise_offset,
        min_snr_gamma=config.min_snr_gamma,
        zero_terminal_snr=config.zero_terminal_snr,
    )
    encode = architecture.live_prompts if config.train_text_encoder else architecture.encode_prompts
    prompts, moments = encode_once(
        accelerator, pipeline, config, tables, cache,
        lambda: encode(pipeline, table.prompts, cut=bool(config.captions)),
        list(architecture.adaptable(pipeline).values())[1:] if config.train_text_encoder else [],
        unload=unload,
    )  # fmt: skip
    # Of captions there can be as many as images.
    place = torch.device("cpu") if config.captions else accelerator.device
    return DenoisingTask(
        name=NAME,
        seed=config.loop.seed,
        objective=objective,
        moments=moments,
        images=[image_conditions(architecture, one, training_size(pipeline, config)) for one in tables],
        table=table,
        prompts=prompts.to(place),
        prompt_dropout=config.prompt_dropout,
        validation_examples=config.validation_examples,
        device=accelerator.device,
        dtype=architecture.network(pipeline).dtype,
    )


def _grids(
    pipeline: Any,
    config: LoRAConfig,
    tokens: TokenMap,
    attribute: Attribute,
    dataset: Dataset,
    folder: Path,
) -> GridSampler:
    subjects = [tokens.subject(name) for name in dataset.features["label"].names]
    return GridSampler(
        pipeline=pipeline,
        prompts=grid_prompts(subjects, attribute if config.mention_tone else None),
        folder=folder,
        name=NAME,
        size=training_size(pipeline, config),
        seed=config.loop.seed,
        every=config.sample_every,
        steps=config.loop.steps,
    )
