"""The generators of the demo: loaded when first asked for, kept while there is room."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from skindiff.corpora.attribute import SKIN_TYPE, Attribute
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.demo.config import DemoConfig
from skindiff.demo.reach import refuse_out_of_reach
from skindiff.errors import GeneratorError
from skindiff.generators.adapter import TOKENS_FILE, read_adapter
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.models import model_file, pipeline_class_name
from skindiff.generators.resolve import Generator, artefact_folder, find_generator, load_generator
from skindiff.generators.text_to_image.loading import architecture_named
from skindiff.synthesis.tone import TonePrototypes, estimate_prototypes


@dataclass
class Loaded:
    """A generator in memory.

    Attributes:
        generator: Stable Diffusion (takes any words and a skin type), with or without an adapter, or a
            from-scratch family.
        conditions: those that are offered.
        base: model to measure the colours of the skin types with: an adapter trained on light skin alone
            generates dark skin too light.
        prototypes: those colours, as far as they are measured.
        options: of :func:`skindiff.load` that it was loaded with, which its word does not say.
    """

    generator: Generator
    conditions: list[str]
    base: Any = None
    prototypes: TonePrototypes = field(default_factory=lambda: TonePrototypes({}, {}))
    options: dict[str, str] = field(default_factory=dict)

    @property
    def takes_words(self) -> bool:
        """Whether it generates any condition on any skin type, and transfers photographs."""
        return not isinstance(self.generator.pipeline, ClassConditionalPipeline)


def short_names(targets: Sequence[str]) -> dict[str, str]:
    """Return folders, files and Hub ids by the name a visitor sees: its last part, numbered where shared.

    So the page does not show where folders are. Every training calls its product ``adapter`` or ``pipeline``;
    such a folder has the name of its run.
    """
    found: dict[str, str] = {}
    for target in targets:
        folder = Path(target).resolve()
        parts = (folder.parent, folder) if folder.name in ("adapter", "pipeline") else (folder,)
        short = parts[0].name if folder.is_dir() else folder.stem if folder.is_file() else target
        name, number = short, 2
        while name in found:
            name, number = f"{short} ({number})", number + 1
        found[name] = target
    return found


class GeneratorCache:
    """Loads generators by name and lets one request at a time generate.

    Args:
        config: valid settings.

    Attributes:
        config: as given.
        offered: folder or Hub id of each name that is offered.
    """

    def __init__(self, config: DemoConfig) -> None:
        self.config = config
        self.offered = short_names(config.generators)
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._busy = threading.Lock()
        self._closed = False

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Wait until no other request computes, and compute alone.

        A cancelled request may still be inside its last batch when the next one starts.

        Raises:
            GeneratorError: the demo is being closed.
        """
        with self._busy:
            if self._closed:
                raise GeneratorError("this demo is being closed")
            yield

    def close(self, seconds: float) -> bool:
        """Let nothing more be computed, and return whether what is at work ends within ``seconds``."""
        self._closed = True
        ended = self._busy.acquire(timeout=seconds)
        if ended:
            self._busy.release()
        return ended

    def generator(self, name: str) -> Loaded:
        """Return a generator, loading it if it is not in memory.

        Args:
            name: one of :attr:`offered`, or (where the config leaves the choice open) a word of
                :func:`skindiff.load`.

        Raises:
            GeneratorError: it is none of those offered and no other may be chosen, or it cannot be loaded.
        """
        name = name.strip()
        if name not in self.offered and not self.config.open_choice:
            raise GeneratorError(
                f"generator {name!r} is not offered here; choose from {', '.join(self.offered)}"
            )
        with self.drawing():
            if name not in self._loaded:
                found = self._load(self.offered.get(name, name))
                while len(self._loaded) >= self.config.keep_generators:
                    self._loaded.popitem(last=False)
                self._loaded[name] = found
            self._loaded.move_to_end(name)
            return self._loaded[name]

    def is_at_hand(self, name: str) -> bool:
        """Return whether a generator is offered here, or in memory since a visitor asked for it."""
        return name.strip() in (*self.offered, *self._loaded)

    def attribute(self, name: str) -> Attribute:
        """Return what a generator is asked for beside the condition, as far as that is known before it is
        loaded: of an adapter in a folder of this machine what it was trained on, else the skin type."""
        folder = Path(self.offered.get(name, name))
        if not folder.is_dir():
            return SKIN_TYPE
        found = artefact_folder(folder)
        return read_adapter(found).attribute if (found / TOKENS_FILE).is_file() else SKIN_TYPE

    def takes_words(self, name: str) -> bool:
        """Return whether a generator takes words and skin types, as far as that is known before it is loaded:
        all are taken to but those of folders of this machine that say otherwise."""
        try:
            folder = Path(self.offered.get(name, name))
            if not folder.is_dir() or ((found := artefact_folder(folder)) / TOKENS_FILE).is_file():
                return True
            return architecture_named(pipeline_class_name(str(found))) is not None
        except GeneratorError:
            return True

    def learn_tones(self, loaded: Loaded) -> Iterator[str]:
        """Measure a generator's own colour of each skin type that is not known yet, one after the other.

        Yields:
            Each skin type, before it is measured.
        """
        for skin_type in SKIN_TYPES:
            if skin_type in loaded.prototypes.colours:
                continue
            yield skin_type
            with self.drawing():
                own = estimate_prototypes(
                    loaded.base or loaded.generator.pipeline,
                    [skin_type],
                    [self.config.tone_subject],
                    draws=self.config.tone_draws,
                )
            known = loaded.prototypes
            loaded.prototypes = TonePrototypes(known.means | own.means, known.colours | own.colours)
        # An adapter's base is not needed any more.
        loaded.base = None

    def _load(self, word: str) -> Loaded:
        refuse_out_of_reach(word)
        base_model, model_config = self.config.adapter_base, self.config.model_config
        place = find_generator(word, base_model=base_model)
        options = {"base_model": base_model} if base_model and place.adapter else {}
        if model_config and not place.config and model_file(place.model):
            place = replace(place, config=model_config)
            options["model_config"] = model_config
        found = load_generator(place, fuse=True)
        base = found.load_base() if found.adapter else None
        return Loaded(found, found.class_names or list(self.config.conditions), base, options=options)
