"""A probe as a classifier of its own: the backbone with the probe as its last layer."""

from collections.abc import Sequence

import torch

from skindiff.classification.cells import backbone_name
from skindiff.classification.networks import Architecture, SkinClassifier, build_classifier
from skindiff.classification.probe import Probe
from skindiff.errors import ConfigError
from skindiff.measures.backbones import BUNDLED, LITE0, Backbone

_TIMM = "timm/"


def refuse_no_network(architecture: str, path: str = "") -> None:
    """Raise a ConfigError for a probe whose backbone is no network that timm makes by a name.

    Args:
        architecture: name of the probe.
        path: prefix of settings in the message, .
    """
    name = backbone_name(architecture)
    if name == BUNDLED or name.startswith("hf-hub:"):
        raise ConfigError(
            f"{path}backbone is {name}, and a probe on it cannot be kept as a classifier, as timm makes no "
            "such network by name: take lite0, or a name of timm (skindiff evaluate takes any backbone)"
        )


def probe_classifier(
    architecture: str, backbone: Backbone, probe: Probe, class_names: Sequence[str], corpus_size: int
) -> SkinClassifier:
    """Return the backbone with the probe as its head, in evaluation mode.

    Args:
        architecture: name of the probe.
        backbone: whose features the probe was fitted on.
        probe: of :func:`~skindiff.classification.probe.fit_probe`.
        class_names: in the order of the codes.
        corpus_size: height and width of the images that it was fitted on; others are brought to this first.

    Raises:
        ConfigError: the backbone's features are not what its network's last layer sees.
    """
    refuse_no_network(architecture)
    name = backbone_name(architecture).removeprefix(_TIMM).partition("@")[0]
    shape = Architecture(name, backbone.image_size, tuple(class_names), corpus_size=corpus_size)
    file = None if backbone.file is None else str(backbone.file)
    model = build_classifier(shape, pretrained=name == LITE0, weights=file, seed=0)
    weight, bias = model.head_parameters() if len(model.head_parameters()) == 2 else (None, None)
    if weight is None or bias is None or weight.shape != torch.Size(probe.weight.shape):
        raise ConfigError(
            f"backbone is {name}, whose last layer is no matrix for {probe.weight.shape[1]} features and "
            "cannot hold the probe: take another, such as lite0"
        )
    with torch.no_grad():
        weight.copy_(torch.from_numpy(probe.weight))
        bias.copy_(torch.from_numpy(probe.bias))
    model.eval()
    return model
