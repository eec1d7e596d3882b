"""The few lines of Python in each card; tests run them as they stand."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from skindiff.escaping import python_string

if TYPE_CHECKING:
    from skindiff.generators.text_to_image.architecture import Architecture


def adapter_usage(
    repo_id: str,
    base_model: str,
    architecture: "Architecture",
    tokens: Sequence[str],
    *,
    has_lora: bool,
    prompt: str,
    terminal_snr: bool,
    file: str = "",
) -> str:
    """Return how diffusers alone generates with an adapter on a base model of an architecture.

    Args:
        repo_id: of the adapter.
        base_model: as others call it.
        architecture: of the base model.
        tokens: learned words.
        has_lora: whether there is a LoRA too.
        prompt: to generate with.
        terminal_snr: whether the noise of the training ended in pure noise.
        file: name of the base model, where that was a checkpoint in one file, as the adapter recorded it.
    """
    base_class = architecture.class_names[0]
    name, _, revision = base_model.partition("@")
    if name == "tiny-skin-sd":
        lines = ["import skindiff", "", 'pipeline = skindiff.load("bundled")']
    elif file:
        lines = [f"from diffusers import {base_class}", "", *_single_file(base_class, base_model, file)]
    elif "/" in name:
        at = f", revision={python_string(revision)}" if revision else ""
        lines = [f"from diffusers import {base_class}", ""]
        lines += [f"pipeline = {base_class}.from_pretrained({python_string(name)}{at})"]
    else:
        lines = [
            "import skindiff",
            "",
            f"pipeline = skindiff.load({python_string(name)})  # a folder: it is not on the Hub",
        ]
    if terminal_snr:
        settings = 'rescale_betas_zero_snr=True, timestep_spacing="trailing"'
        lines += [
            "from diffusers import DDIMScheduler",
            "",
            f"pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, {settings})",
        ]
    lines += _words(repo_id, architecture, tokens) if tokens else []
    if has_lora:
        lines += [f'pipeline.load_lora_weights("{repo_id}", weight_name="pytorch_lora_weights.safetensors")']
    lines += [f'pipeline({python_string(prompt)}).images[0].save("drawn.png")']
    return "\n".join(lines)


def _single_file(base_class: str, base_model: str, file: str) -> list[str]:
    """Return how diffusers loads a checkpoint in one file, of a repository of the Hub or from here."""
    from skindiff.generators.text_to_image.single_file import HUB_SETTINGS

    name, _, revision = file.partition("@")
    settings, lines = revision.partition("-")[2], []
    model, _, commit = base_model.partition("@")
    place, options = name, ""
    if "/" in model:
        place = f"https://huggingface.co/{model}/blob/main/{name}"
        options += f", revision={python_string(commit)}" if commit else ""
    if settings:
        options += f", config={python_string(HUB_SETTINGS.get(settings, 'settings'))}"
        if settings not in HUB_SETTINGS:
            lines.append("# settings: the folder of a pipeline that the file is built like")
    return [*lines, f"pipeline = {base_class}.from_single_file({python_string(place)}{options})"]


def _words(repo_id: str, architecture: "Architecture", tokens: Sequence[str]) -> list[str]:
    """Return how diffusers loads learned words, into each text encoder that has learnt them."""
    files = {token: f"learned_embeds/{token.strip('<>')}.safetensors" for token in tokens}
    if all(home.key is None for home in architecture.token_homes):
        return [
            f"for name in [{', '.join(map(python_string, files.values()))}]:",
            f'    pipeline.load_textual_inversion("{repo_id}", weight_name=name)',
        ]
    named = ", ".join(f"{python_string(token)}: {python_string(file)}" for token, file in files.items())
    lines = [
        "from huggingface_hub import hf_hub_download",
        "from safetensors.torch import load_file",
        "",
        f"for token, name in {{{named}}}.items():",
        f'    rows = load_file(hf_hub_download("{repo_id}", name))',
    ]
    for tokenizer, encoder, key in architecture.token_homes:
        place = f"tokenizer=pipeline.{tokenizer}, text_encoder=pipeline.{encoder}"
        lines += [f'    pipeline.load_textual_inversion(rows["{key}"], token=token, {place})']
    return lines


def text_to_image_usage(repo_id: str, class_name: str) -> str:
    """Return how diffusers alone generates with a whole pipeline."""
    return "\n".join(
        [
            f"from diffusers import {class_name}",
            "",
            f'pipeline = {class_name}.from_pretrained("{repo_id}")',
            'pipeline("An image of skin").images[0].save("drawn.png")',
        ]
    )


def pipeline_usage(repo_id: str, class_names: Sequence[str], image_shape: Sequence[int] | None) -> str:
    """Return how skindiff generates with its own pipeline; ``image_shape`` where it reconstructs images."""
    names = ", ".join(map(python_string, class_names[:2]))
    shown = f", images=torch.zeros({min(2, len(class_names))}, *{tuple(image_shape)})" if image_shape else ""
    return "\n".join(
        [
            "import skindiff",
            "import torch",
            "",
            f'pipeline = skindiff.load("{repo_id}")',
            f"images = pipeline([{names}]{shown}, generator=torch.Generator().manual_seed(0)).images",
            'images[0].save("drawn.png")',
        ]
    )


def classifier_usage(repo_id: str, *, ours: bool, grey: bool) -> str:
    """Return how plain timm classifies ``lesion.png``; ``ours`` are networks that skindiff adds to timm."""
    mode = "L" if grey else "RGB"
    return "\n".join(
        [
            *(["import skindiff.classification.small_cnns  # adds this network to timm"] if ours else []),
            "import timm",
            "from PIL import Image",
            "",
            f'model = timm.create_model("hf-hub:{repo_id}", pretrained=True).eval()',
            "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))",
            f'image = Image.open("lesion.png").convert("{mode}")',
            "probabilities = model(transform(image)[None]).softmax(-1)[0]",
            "print(dict(zip(model.pretrained_cfg['label_names'], probabilities.tolist())))",
        ]
    )


def dataset_usage(repo_id: str) -> str:
    """Return how ``datasets`` loads a synthetic data set."""
    return "\n".join(
        [
            "from datasets import load_dataset",
            "",
            f'dataset = load_dataset("{repo_id}", split="train")',
            'dataset[0]["image"].save("drawn.png")',
            'print({name: value for name, value in dataset[0].items() if name != "image"})',
        ]
    )


def run_usage(repo_id: str) -> str:
    """Return how the folder of a run is fetched and read."""
    return "\n".join(
        [
            "import json",
            "from skindiff.hub.load import load_run",
            "",
            f'folder = load_run("{repo_id}")',
            'report = json.loads((folder / "report.json").read_text(encoding="utf-8"))',
            'print(*(row["sentence"] for row in report["verdicts"]), sep="\\n")',
        ]
    )
