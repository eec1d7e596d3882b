"""The published results on HAM10000: Ravani et al. (few-shot augmentation) and Bingol et al. (detection of
generated images).

Few shots: J. Ravani, A. Agarwal, H. Jangir, "Generative Models for Few-Shot Medical Imaging: A Case
Study on HAM10000 Skin Lesion Classification". ResNet-18 pretrained on ImageNet, 224 px, 50 images per
class, one run. Detection: S. Bingol et al., "Overcoming Medical Data Scarcity with GAN Generated
Synthetic Images", Table III. What does not fit together in them is in :data:`FEW_SHOT_NOTES` and
:data:`DETECTION_NOTES`.
"""

from skindiff.report.published.fitzpatrick import Published

FEW_SHOT = "Ravani et al., Generative Models for Few-Shot Medical Imaging (HAM10000)"
DETECTION = "Bingol et al., Overcoming Medical Data Scarcity with GAN Generated Synthetic Images"

_REAL, _DRAWN = 350, 1200
_GAN_ABSTRACT = "abstract and section VI-A"

_ACCURACY: tuple[tuple[str, float, float], ...] = (
    ("cvae_resnet", 64.91, 69.00),
    ("dcgan", 68.30, 70.18),
    ("ddpm", 60.57, 67.14),
)
"""Table I: generator, accuracy of its own baseline and with its images."""

_F1: dict[str, tuple[str, str]] = {
    "cvae_resnet": (
        "section V-C",
        """
        akiec 41.5 31.1  bcc 49.7 46.2  bkl 41.9 11.2  df 27.1 25.7
        mel 42.1 28.6  nv 80.6 86.1  vasc 37.3 38.9
        """,
    ),
    "dcgan": (
        "section V-D",
        """
        akiec 44.1 37.7  bcc 52.5 50.7  bkl 44.4 38.8  df 31.5 18.9
        mel 41.9 33.7  nv 83.8 85.0  vasc 41.5 54.9
        """,
    ),
}
"""The unnumbered tables of per-class F1 (printed as shares): class, baseline, augmented."""

_DETECTION: tuple[tuple[str, float, float], ...] = (
    ("nv", 63.41, 88.34),
    ("bcc", 29.73, 99.90),
    ("mel", 11.63, 86.20),
    ("bkl", 16.13, 80.21),
)
"""Table III: class, successful detection, "average accuracy"."""

FEW_SHOT_NOTES: tuple[str, ...] = (
    "Ravani et al. give its GAN's gain twice: 68.6% to 69.2% (+0.6 points) in the abstract and the "
    "discussion, "
    "68.30% to 70.18% (+1.88) in Table I and section V-D. Both are quoted.",
    "Ravani et al. trained a baseline anew for each generator (60.6% to 68.3%; 5 epochs for diffusion, 10 "
    "for the "
    "others): each gain is against its own. One run each, without intervals; the baselines alone differ "
    "by more than any gain.",
    "Ravani et al.'s real+synthetic classifier sees 1,550 images to the baseline's 350 in as many epochs, so "
    "it "
    "takes 4.4 times the steps: the effect of more steps is not separated from that of the images.",
    "Ravani et al.'s CVAE saw the full training data (section IV-B): a leak, for the few-shot images alone "
    "are the "
    "premise. Here the few-shot images alone are the default.",
    "Ravani et al. generate no nv images, so the classifier of synthetic images (10.0%) cannot name the "
    "class "
    "that most test images have.",
    "Ravani et al. write of several thousand test images, but 15% of the 9,665 that its 350 leave are 1,450.",
    "Ravani et al. print macro F1 0.601 and 0.616 for diffusion and about 0.40 for the augmented CVAE run; "
    "the "
    "seven values of that run average to 0.383, and no per-class values are printed for diffusion.",
    "Ravani et al. split by image: photographs of one lesion may stand in training and test.",
)
"""What to know when Ravani et al.'s numbers are shown beside ours."""

DETECTION_NOTES: tuple[str, ...] = (
    "Bingol et al.'s percentages cannot come from 100 images per class, as the table says: they are 26 of 41 "
    "(nv), "
    "11 of 37 (bcc), 5 of 43 (mel) and 5 of 31 (bkl), or multiples of these.",
    "Bingol et al.'s average accuracy must be over the detected images alone: 99.90% with 29.73% detected "
    "cannot be "
    "the mean over all. Ours is the detector's mean probability of the class over the detected images; "
    "that over all images is given with it.",
    "Bingol et al. write that classes with more images are detected more often; of its own four, bcc has "
    "the fewest "
    "images (514) and the second highest rate.",
    "Bingol et al. say that its detector reaches 98% on real images, with oversampling and no word on the "
    "split: "
    "where images are repeated before they are split, the same image is trained on and tested. Ours is "
    "held out by lesion, and trained on images that the generator never saw.",
)
"""What to know when Bingol et al.'s numbers are shown beside ours."""


def _few_shot(
    strategy: str,
    arm: str,
    metric: str,
    percent: float,
    *,
    class_name: str | None = None,
    place: str | None = None,
) -> Published:
    size = {"real": _REAL, "syn": _DRAWN, "real+syn": _REAL + _DRAWN}[arm]
    table = 0 if place else 1
    return Published(
        table, "few-shot", "all", "resnet18", strategy, arm, size, metric, percent, None,
        FEW_SHOT, class_name, place,
    )  # fmt: skip


def published_few_shot() -> list[Published]:
    """Return Ravani et al.'s numbers: Table I, the abstract's for the GAN, synthetic only, and the F1 of
    every class.

    A row's ``strategy`` is the generator's family; rows of arm ``real`` have it too, for each generator has a
    baseline of its own.
    """
    rows = [
        _few_shot(strategy, arm, "accuracy", percent)
        for strategy, real, augmented in _ACCURACY
        for arm, percent in (("real", real), ("real+syn", augmented))
    ]
    rows += [
        _few_shot("dcgan", "real", "accuracy", 68.6, place=_GAN_ABSTRACT),
        _few_shot("dcgan", "real+syn", "accuracy", 69.2, place=_GAN_ABSTRACT),
        _few_shot("ddpm", "syn", "accuracy", 10.0, place="section V-B"),
        _few_shot("ddpm", "real", "f1", 60.1, place="section V-B"),
        _few_shot("ddpm", "real+syn", "f1", 61.6, place="section V-B"),
        _few_shot("cvae_resnet", "real+syn", "f1", 40.0, place="section V-C"),
    ]
    for strategy, (place, printed) in _F1.items():
        words = printed.split()
        for name, real, augmented in zip(words[::3], words[1::3], words[2::3], strict=True):
            for arm, percent in (("real", real), ("real+syn", augmented)):
                rows.append(
                    _few_shot(strategy, arm, "f1", float(percent), class_name=name, place=f"table in {place}")
                )
    return rows


def published_detection() -> list[Published]:
    """Return Bingol et al.'s Table III (``detection`` and ``confidence`` by class) and its detector's
    accuracy."""
    common = ("cdcgan", "all", "lesion_detector", "sn_dcgan")
    rows = [
        Published(3, *common, "syn", 100, metric, percent, None, DETECTION, name)
        for name, detection, confidence in _DETECTION
        for metric, percent in (("detection", detection), ("confidence", confidence))
    ]
    rows.append(Published(0, *common, "real", None, "accuracy", 98.0, None, DETECTION, None, "section III"))
    return rows
