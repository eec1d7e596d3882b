"""The control of ``real+colour``: sources recoloured without any generator."""

from collections.abc import Mapping

from datasets import Dataset, Features, Image, Value
from PIL import Image as PILImage

from skindiff.corpora.cache import pixels
from skindiff.corpora.schema import REAL_COLUMNS, corpus_features
from skindiff.synthesis.colour_transfer import transfer_colour


def colour_copies(real: Dataset, synthetic: Dataset) -> Dataset:
    """Return, for every synthetic row with a source, that source recoloured to the row's skin type.

    The non-generative control: same sources, same target types, colour statistics of the literature
    (:mod:`skindiff.synthesis.colour_transfer`) in place of a generator.

    Args:
        real: training rows with ``image``, ``skin_type``, ``image_id``.
        synthetic: rows made from them; rows without a source are left out.
    """
    place = {image_id: row for row, image_id in enumerate(real["image_id"][:])}
    transfers = zip(synthetic["source_id"][:], synthetic["skin_type"][:], strict=True)
    pairs = [(source, target) for source, target in transfers if source in place]
    wanted = sorted(dict.fromkeys(pairs), key=lambda pair: (place[pair[0]], pair[1]))
    features = Features({**corpus_features(real.features["label"].names), "source_id": Value("string")})
    if not wanted:
        return Dataset.from_dict({name: [] for name in features}, features=features)
    rows = [place[source] for source, _ in wanted]
    columns: Mapping[str, list] = (
        real.select_columns(list(set(REAL_COLUMNS) - {"image"})).select(rows).to_dict()
    )
    recoloured = transfer_colour(pixels(real, rows), columns["skin_type"], [target for _, target in wanted])
    table = {
        **columns,
        "image": [PILImage.fromarray(image) for image in recoloured],
        "skin_type": [target for _, target in wanted],
        "image_id": [f"{source}-colour-{target}" for source, target in wanted],
        "source_id": [source for source, _ in wanted],
        "corpus": ["colour"] * len(wanted),
    }
    return Dataset.from_dict(table, features=features).cast_column("image", Image())
