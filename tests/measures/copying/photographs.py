"""Made-up photographs: skin with a grain and a lesion of its own, and the same picture on darker skin."""

from collections.abc import Sequence

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage
from PIL import ImageFilter

SIZE = 48


def photograph(seed: int, size: int = SIZE) -> PILImage.Image:
    """Skin with a lesion of its own place, size and grain."""
    stream = np.random.default_rng(seed)
    grain = PILImage.fromarray(stream.integers(60, 200, (size, size, 3), dtype=np.uint8))
    y, x = np.mgrid[:size, :size] / size
    centre, width = stream.uniform(0.25, 0.75, 2), stream.uniform(0.05, 0.15)
    lesion = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / width**2)[..., None]
    ground = np.asarray(grain.filter(ImageFilter.GaussianBlur(3)), float)
    return PILImage.fromarray((ground * (1 - 0.5 * lesion)).clip(0, 255).astype(np.uint8))


def recoloured(image: PILImage.Image) -> PILImage.Image:
    """The same picture on darker skin, with a little noise."""
    values = np.asarray(image, float) * (0.6, 0.45, 0.4) + 10
    noise = np.random.default_rng(9).normal(0, 1, values.shape)
    return PILImage.fromarray((values + noise).clip(0, 255).astype(np.uint8))


def real(seeds: Sequence[int], per_group: int = 1) -> Dataset:
    """Photographs of two classes, ``per_group`` of them to a patient."""
    features = Features(
        {
            "image": Image(),
            "image_id": Value("string"),
            "group_id": Value("string"),
            "label": ClassLabel(names=["a", "b"]),
        }
    )
    columns = {
        "image": [photograph(seed) for seed in seeds],
        "image_id": [f"photo-{seed}" for seed in seeds],
        "group_id": [f"patient-{seed // per_group}" for seed in seeds],
        "label": [seed // per_group % 2 for seed in seeds],
    }
    return Dataset.from_dict(columns, features=features)


def drawn(images: Sequence[PILImage.Image], source_ids: Sequence[str | None]) -> Dataset:
    """Generated images and what they were drawn from."""
    names = [f"d{row}" for row in range(len(images))]
    columns = {"image": list(images), "image_id": names, "source_id": list(source_ids)}
    features = Features({"image": Image(), "image_id": Value("string"), "source_id": Value("string")})
    return Dataset.from_dict(columns, features=features)
