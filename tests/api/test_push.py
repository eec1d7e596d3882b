"""What the functions of skindiff return goes to the Hub, and comes back."""

from pathlib import Path

import pytest

from tests.hub.conftest import TOKEN, Client
from tests.hub.server import Hub

PUSH = """
    import skindiff
    from skindiff.errors import ConfigError
    from skindiff.hub.origin import Origin

    corpus = skindiff.load_corpus(
        "phantom", image_size=16, classes=["nodule", "ring"], images_per_class={"I": 6, "V": 6}
    )
    split = skindiff.make_split(corpus, test_fraction=0.3)
    family = {"image_size": 16, "widths": [16, 8], "latent_dim": 4, "channels": 3, "batch_size": 4}
    pipeline = skindiff.train_generator(corpus, split, "fc_cvae", steps=2, **family)
    drawn = skindiff.generate(pipeline, images=2)
    classifier = skindiff.train_classifier(
        corpus, split, drawn, architecture="resnet10t", image_size=32, steps=2, batch_size=4, warmup_steps=0
    )
    origin = {"licence": "apache-2.0", "origin": Origin(corpora=["phantom"])}
    print(skindiff.push(pipeline, "me/pipeline", **origin).private)
    skindiff.push(drawn, "me/drawn", **origin)
    skindiff.push(classifier, "me/classifier", **origin)
    try:
        skindiff.push(pipeline, "me/pipeline", arm="real", **origin)
    except ConfigError as error:
        print(error)
    again = skindiff.load("me/pipeline")
    assert again.skindiff.class_names == ["nodule", "ring"]
    first = skindiff.generate(again, images=2).dataset
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first["image"], drawn.dataset["image"]))
"""


@pytest.mark.slow
def test_artefacts_go_to_the_hub_and_come_back(tmp_path: Path) -> None:
    with Hub(tmp_path / "hub", {TOKEN: "me"}).running() as hub:
        said = Client(hub, tmp_path / "client").succeed(PUSH)
    assert said.splitlines()[0] == "True"
    assert "arm: a push of the kind 'pipeline' does not take it; leave it out" in said
