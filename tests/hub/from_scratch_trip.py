"""From-scratch pipelines: pushed, loaded by ``skindiff.load`` and their class, compared by their images."""

from pathlib import Path

import numpy as np
import torch

from skindiff.generators.dcgan import DCGANGenerator, DCGANPipeline
from skindiff.generators.ddpm import ConditionalDDPMPipeline
from tests.hub.server import Hub
from tests.tiny_generators import CLASSES, tiny_ddpm
from tests.toy_family import ToyNetwork, ToyPipeline

PUSH = """
    import tests.toy_plugin
    from skindiff.hub.origin import Origin
    from skindiff.hub.push import push_pipeline
    for name in ("ddpm", "dcgan", "toy"):
        push_pipeline(name, f"me/{name}", licence="mit", origin=Origin(["phantom"]))
"""
LOAD = """
    import numpy as np
    import torch
    import skindiff
    import tests.toy_plugin
    from skindiff.generators.dcgan import DCGANPipeline
    from skindiff.generators.ddpm import ConditionalDDPMPipeline
    from tests.toy_family import ToyPipeline

    def drawn(pipeline, **options):
        generator = torch.Generator().manual_seed(0)
        return np.asarray(pipeline(["one", "two"], generator=generator, output_type="np", **options).images)

    np.savez(
        "from_scratch.npz",
        ddpm=drawn(skindiff.load("me/ddpm"), steps=3),
        ddpm_class=drawn(ConditionalDDPMPipeline.from_pretrained("me/ddpm"), steps=3),
        dcgan=drawn(skindiff.load("me/dcgan")),
        dcgan_class=drawn(DCGANPipeline.from_pretrained("me/dcgan")),
        toy=drawn(skindiff.load("me/toy")),
        toy_class=drawn(ToyPipeline.from_pretrained("me/toy")),
    )
    run_the_card("me/ddpm"), run_the_card("me/dcgan"), run_the_card("me/toy")
"""


def build(folder: Path) -> None:
    """Make a pipeline of diffusers' own network, one of ours and one of a plugin."""
    tiny_ddpm().save_pretrained(folder / "ddpm")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = DCGANGenerator(classes=2, image_size=28, channels=3, latent_size=4, width=2)
    DCGANPipeline(generator.eval(), list(CLASSES), 28, 3).save_pretrained(folder / "dcgan")
    ToyPipeline(ToyNetwork(), list(CLASSES)).save_pretrained(folder / "toy")


def check(hub: Hub, folder: Path) -> None:
    """See that what came back draws the same."""
    loaded = np.load(folder / "from_scratch.npz")
    for kind, options in ((ConditionalDDPMPipeline, {"steps": 3}), (DCGANPipeline, {}), (ToyPipeline, {})):
        pipeline, generator = kind.from_pretrained(folder / kind.family), torch.Generator().manual_seed(0)
        images = pipeline(list(CLASSES), generator=generator, output_type="np", **options).images
        np.testing.assert_array_equal(loaded[kind.family], images)
        np.testing.assert_array_equal(loaded[f"{kind.family}_class"], images)
    card = hub.files("model", "me/ddpm")["README.md"].decode()
    assert "(ddpm) that generates images of 8 x 8 px: one, two" in card
    assert "(toy) that generates images" in hub.files("model", "me/toy")["README.md"].decode()
