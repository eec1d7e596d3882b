"""Textual inversion: one new word per condition, all learnt in one run, and nothing else changed.

Gal et al. 2023 (arXiv 2208.01618). Only the new rows of the embedding matrix are parameters; the optimiser
never sees the rest of it. Where a model has several text encoders, each learns rows of its own.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import nn

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.crops import CropKind
from skindiff.errors import TrainingError
from skindiff.generators.adapter import Adapter, check_no_adapter, crop_record, pipeline_state, save_adapter
from skindiff.generators.text_to_image.loading import architecture_of
from skindiff.generators.tokens import Rows, TokenMap, add_tokens, make_token_map, text_homes
from skindiff.recorded_settings import LATER, recorded
from skindiff.seeding import numpy_generator
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
from skindiff.training.loop import Log, Sampler, train
from skindiff.training.loop_config import LoopConfig
from skindiff.training.objectives import objective_of
from skindiff.training.precision import BaseDtype, check_base_dtype
from skindiff.training.prompt_table import prompt_table
from skindiff.training.sample_grid import grid_prompts
from skindiff.wrong_settings import refuse

NAME = "textual_inversion"
WORD = "word"
"""Before the number of a class, in the name of the folder where its word is learnt by itself."""


@dataclass
class TextualInversionConfig:
    """How the new words are learnt."""

    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=500, batch_size=4, gradient_accumulation_steps=4, learning_rate=5e-3, max_grad_norm=0.0
        )
    )
    """Length, batch and learning rate; see steps_per_condition for what loop.steps counts."""
    steps_per_condition: bool = True
    """Count loop.steps per condition: the run takes loop.steps x conditions. If false, of the whole run."""
    one_by_one: bool = False
    """Learn the words one after another, loop.steps each on images of their condition alone, as Wang et al.'s
    code does. If false, all in one run whose steps mix the conditions."""
    vectors: int = 1
    """Rows of the embedding matrix per condition."""
    initialiser: str = "skin"
    """Word of the vocabulary that the rows start from: one token, or up to as many as vectors."""
    mention_tone: bool = False
    """Name the tone of the skin, or what else corpus.attribute is, in the prompts, so that the word need not
    learn it."""
    image_size: int | None = None
    """Height and width of the training images in pixels; null is the size that the model was made for."""
    random_flip: bool = True
    """Show mirror images half of the time."""
    latent_precision: Precision = field(default="float32", metadata=LATER)
    """What encoded images are kept in on the disk: float32, or float16 in half of the space."""
    noise_offset: float = 0.0
    """Standard deviation of the noise added to each latent channel's mean."""
    flow: FlowConfig = field(default_factory=FlowConfig, metadata=LATER)
    """Noise levels of models that learn by flow matching."""
    gradient_checkpointing: bool = False
    """Trade speed for memory in the network that denoises."""
    compile_blocks: bool = field(default=False, metadata=LATER)
    """Compile the blocks that the network repeats: a minute at the start for faster steps on a GPU. Losses
    differ in rounding."""
    base_dtype: BaseDtype = field(default="float32", metadata=LATER)
    """Precision of the frozen base model: float32; bfloat16 or float16, which take half the memory (float16
    with --mixed_precision fp16); or nf4, 4 bits for each weight of the network that denoises, by bitsandbytes
    on CUDA. The autoencoder, text encoders that can learn words and what is learnt stay in float32."""
    validation_examples: int = 128
    """Pairs of image and timestep of the validation loss; 0 switches it off."""
    sample_every: int = 0
    """Optimiser steps between sample grids, a multiple of loop.validate_every; 0 makes none."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError that names the first setting that cannot work."""
        check_common_settings(self, path)
        if self.vectors < 1:
            refuse(f"{path}vectors is {self.vectors}: set it to at least 1")
        if self.one_by_one and not self.steps_per_condition:
            refuse(
                f"{path}one_by_one learns each word for {path}loop.steps={self.loop.steps} steps: set {path}"
                "steps_per_condition to true, or one_by_one to false"
            )

    def run_loop(self, conditions: int) -> LoopConfig:
        """Return the loop of a run: of all conditions together, or of one where they go one by one."""
        factor = conditions if self.steps_per_condition and not self.one_by_one else 1
        return replace(self.loop, steps=self.loop.steps * factor)


def paper_textual_inversion() -> TextualInversionConfig:
    """Return the settings of the paper's code (scripts/textual_inversion.py and notebooks/finetune.ipynb).

    Each word by itself, 500 steps of 16 images, 5e-4 x 16, weight decay 1e-2, mirrored half of the time, 512
    px. Its ``repeats`` of 10 only lengthen an epoch there, and steps are not counted in epochs here. It
    stretches images to squares; here they are cut to the central square when the corpus is read.
    """
    loop = LoopConfig(
        steps=500,
        batch_size=4,
        global_batch_size=16,
        learning_rate=5e-4,
        scale_lr=True,
        lr_schedule="constant",
        weight_decay=1e-2,
        max_grad_norm=0.0,
    )
    return TextualInversionConfig(loop=loop, image_size=512, one_by_one=True)


def balanced_batches(
    labels: np.ndarray, global_batch: int, *key: str | int, only: int | None = None
) -> Sampler:
    """Return a sampler that takes the classes in turn, and each class's rows in shuffled order.

    Over any number of steps the classes are shown equally often up to one, and so are the rows of a class.
    With ``only`` it takes rows of this class alone.
    """
    groups = [np.flatnonzero(labels == label) for label in (np.unique(labels) if only is None else [only])]

    @lru_cache(maxsize=4 * len(groups))
    def order(group: int, epoch: int) -> np.ndarray:
        generator = numpy_generator(*key, "class", group, "epoch", epoch)
        return groups[group][generator.permutation(len(groups[group]))]

    def sample(step: int) -> np.ndarray:
        batch = np.empty(global_batch, dtype=np.int64)
        for place in range(global_batch):
            turn, group = divmod(step * global_batch + place, len(groups))
            epoch, row = divmod(turn, len(groups[group]))
            batch[place] = order(group, epoch)[row]
        return batch

    return sample


class TrainableRows(nn.Module):
    """An embedding of which some rows are parameters of their own, in float32; the others are frozen."""

    def __init__(self, frozen: nn.Embedding, rows: range) -> None:
        super().__init__()
        # The frozen matrix comes first: libraries take the first weights' precision for the whole network's.
        self.frozen, self.rows = frozen, rows
        own = frozen.weight[rows.start : rows.stop].detach().float().clone()
        self.learnt = nn.Embedding.from_pretrained(own, freeze=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (..., width) of ``ids`` (...)."""
        own = (ids >= self.rows.start) & (ids < self.rows.stop)
        learnt = self.learnt((ids - self.rows.start).clamp(0, len(self.rows) - 1))
        return torch.where(own.unsqueeze(-1), learnt.to(self.frozen.weight), self.frozen(ids))

    def merge(self) -> nn.Embedding:
        """Copy the parameters into the matrix and return it."""
        with torch.no_grad():
            learnt = self.learnt.weight.to(self.frozen.weight)
            self.frozen.weight[self.rows.start : self.rows.stop] = learnt
        return self.frozen


def train_textual_inversion(
    accelerator: Accelerator,
    pipeline: Any,
    config: TextualInversionConfig,
    dataset: Dataset,
    folder: Path,
    *,
    validation: Dataset | None = None,
    base_model: str | None = None,
    latent_cache: Path | None = None,
    attribute: Attribute = SKIN_TYPE,
    crop: CropKind = "centre",
    unload: bool = False,
) -> Adapter:
    """Teach ``pipeline`` one placeholder for each class of ``dataset`` and save them to ``folder/adapter``.

    The pipeline is moved to the accelerator's device and holds the learnt words afterwards. Killed at any
    moment and called again with a fresh pipeline, it continues from the newest checkpoint in ``folder``.

    Args:
        accelerator: gives device, precision and processes.
        pipeline: without adapter; its weights keep their precision, the learnt rows are float32 in training.
        config: see :class:`TextualInversionConfig`.
        dataset: training rows of the schema; every class of its label must have some.
        folder: for checkpoints, sample grids and the adapter.
        validation: held-out rows for the validation loss; without them it is taken on the training rows.
        base_model: ``id@revision`` for the record.
        latent_cache: folder of the encoded images, which trainings on the same rows can share; ``folder`` by
            default.
        attribute: of the rows, what prompts name.
        crop: of the rows, for the record.
        unload: unload the autoencoder, and text encoders that learn no words, once they have encoded images
            and prompts, unless sample grids are made; the pipeline cannot draw afterwards.

    Raises:
        ConfigError: a setting that cannot work.
        GeneratorError: an initialiser or placeholder that the model cannot take.
        TrainingError: a class without rows, or a loss that is not finite.
    """
    config.validate()
    check_base_dtype(config.base_dtype, "textual_inversion.base_dtype", accelerator.mixed_precision)
    check_no_adapter(pipeline)
    tokens = make_token_map(_classes(dataset), config.vectors, config.initialiser)
    before = pipeline_state(pipeline)
    ids = add_tokens(pipeline, tokens)
    weights = base_weights(pipeline)
    task = _task(
        accelerator, pipeline, config, [dataset, *filter(None, [validation])], tokens, attribute,
        latent_cache or folder, unload=unload,
    )  # fmt: skip
    context = task.fingerprint(weights, recorded(config))
    loop = config.run_loop(len(tokens.tokens))
    global_batch = loop.global_batch(accelerator.num_processes)
    log: Log = []
    for lesson in _lessons(config, ids):
        place = folder if lesson.only is None else folder / f"{WORD}-{lesson.only}"
        with (
            _trainable_rows(pipeline, lesson.rows),
            gradient_checkpointing(pipeline, config.gradient_checkpointing),
            compiled_blocks(pipeline, config.compile_blocks),
        ):
            found = train(
                accelerator,
                loop,
                module=architecture_of(pipeline).denoiser(
                    pipeline, live_text=True, guidance=config.flow.guidance
                ),
                loss=task.loss,
                sampler=_sampler(
                    dataset,
                    training_size(pipeline, config),
                    architecture_of(pipeline).size_step(pipeline),
                    global_batch,
                    loop,
                    lesson,
                ),
                folder=place,
                name=NAME,
                validate=task.validate if config.validation_examples else None,
                on_validate=_grids(pipeline, config, tokens, attribute, place, loop.steps)
                if config.sample_every
                else None,
                context=context,
            )
        log += [{**row, "step": row["step"] + len(log)} for row in found]
    base_class = architecture_of(pipeline).class_names[0]
    adapter = Adapter(
        folder=folder / "adapter",
        tokens=tokens,
        config={
            "base_model": base_model,
            "base_class": base_class,
            NAME: recorded(config),
            **attribute.record(),
            **crop_record(crop),
        },
        log=[{"stage": NAME, **row} for row in log],
        has_lora=False,
        before=before,
    )
    if accelerator.is_main_process:
        save_adapter(adapter, pipeline)
    accelerator.wait_for_everyone()
    return adapter


@dataclass(frozen=True)
class _Lesson:
    """Rows of each embedding matrix that are learnt together, and the class whose images alone are shown."""

    rows: list[range]
    only: int | None = None


def _lessons(config: TextualInversionConfig, ids: Rows) -> list[_Lesson]:
    """Return what is learnt, in order: every word by itself, or all together.

    Args:
        config: of the training.
        ids: rows of each embedding matrix, by class; all of them follow one another.
    """
    if config.one_by_one:
        words = zip(*(own.values() for own in ids), strict=True)
        return [_Lesson([_spanned(rows) for rows in word], code) for code, word in enumerate(words)]
    return [_Lesson([_spanned([row for rows in own.values() for row in rows]) for own in ids])]


def _spanned(rows: list[int]) -> range:
    return range(min(rows), max(rows) + 1)


def _sampler(
    dataset: Dataset, size: int, step: int, global_batch: int, loop: LoopConfig, lesson: _Lesson
) -> Sampler:
    """Return the batches of a lesson; of images of several shapes each pass shows the largest class once."""
    labels = np.asarray(dataset["label"][:])
    counts = np.bincount(labels)
    whole = len(counts) * counts.max() if lesson.only is None else counts[lesson.only]
    return batches_of(
        dataset,
        size,
        step,
        global_batch,
        lambda rows: balanced_batches(labels, rows, NAME, loop.seed, only=lesson.only),
        int(whole),
        NAME,
        loop.seed,
    )


def _classes(dataset: Dataset) -> list[str]:
    names: list[str] = dataset.features["label"].names
    present = set(dataset["label"][:])
    missing = [name for number, name in enumerate(names) if number not in present]
    if missing:
        raise TrainingError(
            f"condition {missing[0]!r} has no training image, so its word cannot be learnt: drop it from "
            "the corpus, or add images"
        )
    return names


def _task(
    accelerator: Accelerator,
    pipeline: Any,
    config: TextualInversionConfig,
    tables: list[Dataset],
    tokens: TokenMap,
    attribute: Attribute,
    cache: Path,
    *,
    unload: bool,
) -> DenoisingTask:
    table = prompt_table(tables, tokens, attribute if config.mention_tone else None)
    architecture = architecture_of(pipeline)
    objective = objective_of(pipeline, config.flow, noise_offset=config.noise_offset)
    prompts, moments = encode_once(
        accelerator, pipeline, config, tables, cache,
        lambda: architecture.live_prompts(pipeline, table.prompts),
        [encoder for _, encoder in text_homes(pipeline)],
        unload=unload,
    )  # fmt: skip
    return DenoisingTask(
        name=NAME,
        seed=config.loop.seed,
        objective=objective,
        moments=moments,
        images=[image_conditions(architecture, one, training_size(pipeline, config)) for one in tables],
        table=table,
        prompts=prompts.to(accelerator.device),
        prompt_dropout=0.0,
        validation_examples=config.validation_examples,
        device=accelerator.device,
        dtype=architecture.network(pipeline).dtype,
    )


def _grids(
    pipeline: Any,
    config: TextualInversionConfig,
    tokens: TokenMap,
    attribute: Attribute,
    folder: Path,
    steps: int,
) -> GridSampler:
    return GridSampler(
        pipeline=pipeline,
        prompts=grid_prompts(list(tokens.tokens.values()), attribute if config.mention_tone else None),
        folder=folder,
        name=NAME,
        size=training_size(pipeline, config),
        seed=config.loop.seed,
        every=config.sample_every,
        steps=steps,
    )


@contextmanager
def _trainable_rows(pipeline: Any, learnt: list[range]) -> Iterator[None]:
    """Let some rows of each text encoder be parameters inside the context and plain rows again after it."""
    for module in architecture_of(pipeline).networks(pipeline):
        module.requires_grad_(False)
    with ExitStack() as stack:
        for (_, encoder), own in zip(text_homes(pipeline), learnt, strict=True):
            rows = TrainableRows(encoder.get_input_embeddings(), own)
            encoder.set_input_embeddings(rows)
            stack.callback(lambda encoder, rows: encoder.set_input_embeddings(rows.merge()), encoder, rows)
        yield
