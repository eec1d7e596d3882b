"""Test classifiers of HAM10000 on another corpus: on a part of it in disguise, or on Fitzpatrick17k.

    python scripts/other_corpora.py dressed HAM10000 OUTPUT
    python scripts/other_corpora.py fitzpatrick17k HAM10000 FITZPATRICK17K OUTPUT

The first takes lesions of HAM10000 that the study does not have, gives their classes other names, and plants
copies of images of the study among them: whether these are found is known. The second is a real one: from
dermatoscopy to clinical photographs, basal cell carcinoma against the lesions that both corpora have; what
none of HAM10000's classes is, is left out and counted. Both end in the report of `skindiff evaluate`.
"""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from PIL import Image

import skindiff
from skindiff.api.evaluation import EvaluationReport
from skindiff.corpora.ham10000 import DIAGNOSES
from skindiff.corpora.registry import Corpus
from skindiff.measures.copying.planted import KINDS, plant
from skindiff.seeding import numpy_generator

SPLITS = (0, 1, 2)
MOST = 300
"""Images of a class in either part of the first; most lesions of HAM10000 are nevi."""
PLANTED = 20
"""Copies of each kind."""
NAMES = {
    "akiec": "solar keratosis",
    "bcc": "basalioma",
    "bkl": "benign keratosis",
    "df": "histiocytoma",
    "mel": "malignant melanoma",
    "nv": "mole",
    "vasc": "angioma",
}
"""What the other clinic calls them."""
SHARED = {
    "basal cell carcinoma": "bcc",
    "basal cell carcinoma morpheiform": "bcc",
    "actinic keratosis": "rest",
    "dermatofibroma": "rest",
    "malignant melanoma": "rest",
    "melanoma": "rest",
    "pyogenic granuloma": "rest",
    "seborrheic keratosis": "rest",
    "superficial spreading melanoma ssm": "rest",
}
"""Conditions of Fitzpatrick17k that HAM10000's classes hold (Tschandl et al. 2018 count actinic keratoses,
benign keratoses, dermatofibromas, melanomas and, among vascular lesions, pyogenic granulomas). Squamous cell
carcinoma is none: HAM10000 has its intraepithelial forms alone."""


def study(corpus: Corpus, external: dict[str, object], output: Path) -> EvaluationReport:
    """Return the report of two arms of probes on three splits, tested on the other corpus too."""
    cuts = [skindiff.make_split(corpus, seed=seed, test_fraction=0.3) for seed in SPLITS]
    report = skindiff.evaluate(
        corpus, cuts, arms=["real", "real+geometric"], output_dir=output, resume=True, external=external,
        copying={"enabled": False}, probe={"views": 1},
    )  # fmt: skip
    found = report.content["external"]
    for one in found["sets"]:
        print(f"{one['name']}: {one['tested']}, left out {one['unmapped']}, twins {one['twins']}")
    for row in found["beside"]:
        values = (row[name] for name in ("mean", "ci_low", "ci_high", "here", "change", "change_ci_low"))
        told = " ".join(f"{100 * (value or 0):6.1f}" for value in (*values, row["change_ci_high"]))
        print(f"{row['arm']:16} {row['metric']:30} there {told}")
    print(f"{output}/report.html")
    return report


def dressed(ham10000: str, output: str) -> None:
    """Test on lesions of HAM10000 under other names, among which copies of the study's images are planted.

    Args:
        ham10000: folder with HAM10000_metadata.csv and the images.
        output: folder of the study.
    """
    home = Path(output)
    own, other = _parts(Path(ham10000), home)
    corpus = skindiff.load_corpus(
        "ham10000", data_dir=ham10000, csv=str(own), audit=False, cache_dir=home / "cache"
    )
    for row in other:
        _keep(home / "clinic" / NAMES[row["dx"]], row["image_id"], _image(Path(ham10000), row["image_id"]))
    chosen = numpy_generator("planted here", 0).permutation(len(corpus.dataset))[: PLANTED * len(KINDS)]
    for number, kind in enumerate(KINDS):
        rows = corpus.dataset.select(chosen[number :: len(KINDS)])
        copies = plant(np.stack([np.asarray(image) for image in rows["image"]]), kind, 0)
        for place, (image, label) in enumerate(zip(copies, rows["label"], strict=True)):
            folder = home / "clinic" / NAMES[corpus.class_names[label]]
            _keep(folder, f"planted-{kind.replace(' ', '-')}-{place}", Image.fromarray(image))
    clinic = {"name": "imagefolder", "audit": False, "imagefolder": {"data_dir": str(home / "clinic")}}
    classes = {theirs: ours for ours, theirs in NAMES.items()}
    report = study(corpus, {"clinic": {"corpus": clinic, "classes": classes}}, home / "study")
    (one,) = report.content["external"]["sets"]
    print(f"planted {len(chosen)}; {one['twins']} images of {one['twins'] + one['images']} were left out")


def fitzpatrick17k(ham10000: str, fitzpatrick17k: str, output: str) -> None:
    """Test on the clinical photographs of Fitzpatrick17k: basal cell carcinoma against the rest.

    Args:
        ham10000: folder with HAM10000_metadata.csv and the images.
        fitzpatrick17k: folder with fitzpatrick17k.csv and the images.
        output: folder of the study.
    """
    home = Path(output)
    corpus = skindiff.load_corpus("ham10000", data_dir=ham10000, audit=False, cache_dir=home / "cache")
    with (Path(fitzpatrick17k) / "fitzpatrick17k.csv").open(encoding="utf-8", newline="") as file:
        listed = Counter(row["label"] for row in csv.DictReader(file))
    own = {"data_dir": fitzpatrick17k, "conditions": sorted(listed)}
    theirs = {"name": "fitzpatrick17k", "cache_dir": str(home / "cache"), "fitzpatrick17k": own}
    study(corpus, {"fitzpatrick17k": {"corpus": theirs, "classes": SHARED}}, home / "study")


def _parts(folder: Path, home: Path) -> tuple[Path, list[dict[str, str]]]:
    """Write the table of one half of the lesions, and return its path and the rows of the other half."""
    with (folder / "HAM10000_metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if _file(folder, row["image_id"]).is_file()]
    lesions = sorted({row["lesion_id"] for row in rows})
    here = set(numpy_generator("lesions here", 0).permutation(lesions)[: len(lesions) // 2].tolist())
    halves: tuple[list[dict[str, str]], list[dict[str, str]]] = ([], [])
    for name in DIAGNOSES:
        for half, inside in zip(halves, (True, False), strict=True):
            half += [row for row in rows if row["dx"] == name and (row["lesion_id"] in here) == inside][:MOST]
    home.mkdir(parents=True, exist_ok=True)
    table = home / "own.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(halves[0])
    return table, halves[1]


def _file(folder: Path, image_id: str) -> Path:
    return folder / "images" / f"{image_id}.jpg"


def _image(folder: Path, image_id: str) -> Image.Image:
    return skindiff.read_image(_file(folder, image_id))


def _keep(folder: Path, name: str, image: Image.Image) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / f"{name}.png")


if __name__ == "__main__":
    auto_cli([dressed, fitzpatrick17k])
