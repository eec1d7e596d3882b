"""What all from-scratch generators share: images drawn by class, each from its own random stream."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from huggingface_hub import snapshot_download

from skindiff.errors import GeneratorError

OutputType = Literal["pil", "np", "pt"]
Generators = torch.Generator | Sequence[torch.Generator] | None


class ClassConditionalPipeline(DiffusionPipeline):
    """Base of the pipelines that draw images of a class.

    A family registers its networks in ``__init__`` and brings :meth:`draw`; its config holds
    ``class_names``, ``image_size`` and ``channels``, so that ``save_pretrained`` and ``from_pretrained`` keep
    all that is needed to draw.

    Attributes:
        family: the name that configs and ``skindiff train`` use.
        needs_images: whether it re-draws images it is shown (an autoencoder) instead of drawing from noise.
    """

    family: str
    needs_images: bool = False

    def _register(self, class_names: Sequence[str], image_size: int, channels: int) -> None:
        """Keep the classes in the order of their codes, the side in pixels, and 1 (grey) or 3 channels."""
        self.register_to_config(class_names=list(class_names), image_size=image_size, channels=channels)

    @classmethod
    def download(cls, pretrained_model_name: str, **options: Any) -> str:
        """Fetch a pipeline of the Hub and return its folder; ``from_pretrained`` calls this.

        diffusers' own takes the list ``class_names`` for a component and asks for a network's code in the
        repository. Here the code is this package's, and only settings and safetensors are fetched.

        Args:
            pretrained_model_name: Hub id.
            options: of ``from_pretrained``; those of :func:`huggingface_hub.snapshot_download` are used.
        """
        names = ("cache_dir", "revision", "token", "force_download", "local_files_only")
        used = {name: options[name] for name in names if options.get(name) is not None}
        return snapshot_download(pretrained_model_name, allow_patterns=["*.json", "*.safetensors"], **used)

    @abstractmethod
    def draw(
        self, labels: torch.Tensor, generators: Sequence[torch.Generator | None], **options: Any
    ) -> torch.Tensor:
        """Return ``(batch, channels, height, width)`` images in [-1, 1].

        Args:
            labels: (batch,) int64 class codes, on the networks' device.
            generators: one per image, on the CPU; None draws from the global one. Whatever is random about
                an image comes from its own (see :func:`row_noise`).
            options: the family's own, such as the sampler's steps; ``images`` where ``needs_images``.
        """

    @torch.no_grad()
    def __call__(
        self,
        class_labels: int | str | Sequence[int | str] | torch.Tensor,
        *,
        generator: Generators = None,
        output_type: OutputType = "pil",
        return_dict: bool = True,
        **options: Any,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Draw one image for each class label.

        Args:
            class_labels: names or codes.
            generator: one for all images, or a list with one for each, on the CPU.
            output_type: ``"pil"`` (a list of images), ``"np"`` ((n, height, width, channels) float32 in
                [0, 1]) or ``"pt"`` ((n, channels, height, width) float32 in [0, 1]).
            return_dict: wrap in an :class:`~diffusers.ImagePipelineOutput`; a tuple otherwise.
            options: see the family's ``draw``.

        Raises:
            GeneratorError: a class is unknown, or the generators or images do not fit the labels.
        """
        codes = self.class_codes(class_labels)
        generators = self._one_each(generator, len(codes))
        images = options.get("images")
        if self.needs_images and (images is None or len(images) != len(codes)):
            raise GeneratorError(
                f"images: {self.family} re-draws images, so give one for each of the {len(codes)} labels"
            )
        drawn = self.draw(torch.tensor(codes, device=self.device), generators, **options)
        pixels = (drawn.float() / 2 + 0.5).clamp(0, 1).cpu()
        found: Any = pixels
        if output_type != "pt":
            found = pixels.permute(0, 2, 3, 1).numpy()
        if output_type == "pil":
            found = self.numpy_to_pil(found)
        return ImagePipelineOutput(images=found) if return_dict else (found,)

    def class_codes(self, class_labels: int | str | Sequence[int | str] | torch.Tensor) -> list[int]:
        """Return the codes of classes given by name or code.

        Raises:
            GeneratorError: there is no such class.
        """
        if isinstance(class_labels, torch.Tensor):
            class_labels = class_labels.tolist()
        single = isinstance(class_labels, (int, str))
        given: Sequence[int | str] = [class_labels] if single else class_labels  # type: ignore[assignment, list-item]
        names: list[str] = list(self.config.class_names)
        codes = []
        for label in given:
            code = names.index(label) if isinstance(label, str) and label in names else label
            if not isinstance(code, int) or not 0 <= code < len(names):
                raise GeneratorError(
                    f"class_labels: {label!r} is no class of this generator; use 0 to {len(names) - 1} or "
                    f"one of {', '.join(names)}"
                )
            codes.append(code)
        return codes

    def _one_each(self, generator: Generators, count: int) -> list[torch.Generator | None]:
        if generator is None or isinstance(generator, torch.Generator):
            return [generator] * count
        if len(generator) != count:
            raise GeneratorError(
                f"generator: {len(generator)} generators for {count} images; give one, or one for each"
            )
        return list(generator)


def row_noise(
    generators: Sequence[torch.Generator | None], shape: Sequence[int], device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return ``(len(generators), *shape)`` standard normal noise, each row from its own CPU generator.

    So an image does not depend on what is drawn beside it.
    """
    rows = [torch.randn(tuple(shape), generator=generator) for generator in generators]
    return torch.stack(rows).to(device)
