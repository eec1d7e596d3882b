"""Check the intervals of detection over recall on simulated studies: how often they hold the true share.

    python scripts/calibrate_detection.py                   # 1,000 studies a design, about five minutes
    python scripts/calibrate_detection.py --studies 100     # a look

Nothing is trained. A class is recognised with a chance that differs between seeds, on the logit scale, for
generated and for real images apart; a lesion is as easy for every detector that is tested on it, and each
seed tests a random part of the same lesions.
"""

from dataclasses import dataclass

import numpy as np
from jsonargparse import auto_cli
from scipy.special import expit
from simulated_studies import FloatArray

from skindiff.evaluation.detection import Detection, Judged
from skindiff.evaluation.statistics.detections import detection_rows
from skindiff.seeding import numpy_generator


@dataclass(frozen=True)
class Design:
    """A kind of study; standard deviations are on the scale of logits."""

    name: str
    seeds: int = 3
    lesions: int = 200
    """Of a class, of which each seed holds out 30%."""
    images: int = 100
    """Generated for each seed."""
    level: float = 0.0
    """Of the real images' logit: 0 is a recall of one half."""
    drop: float = 0.0
    """Of the generated images' logit below it."""
    between: float = 0.4
    """Spread of seeds."""
    lesion: float = 1.0
    """Spread of lesions."""
    classes: int = 1


DESIGNS = (
    Design("3 seeds"),
    Design("3 seeds, half as often", drop=1.1),
    Design("3 seeds, 40 lesions", lesions=40),
    Design("3 seeds that differ much", between=0.8),
    Design("3 seeds that do not differ", between=0.0),
    Design("3 seeds, recall of 0.8", level=1.5),
    Design("5 seeds", seeds=5),
    Design("1 seed that does not differ", seeds=1, between=0.0),
    Design("3 seeds, 7 classes", classes=7),
)


def chance_of(logit: float, design: Design, *, lesions: bool) -> float:
    """Return the mean chance of an image over seeds and lesions, by quadrature."""
    spread = np.hypot(design.between, design.lesion if lesions else 0.0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return float(expit(logit + spread * nodes) @ weights / weights.sum())


def judged(right: FloatArray, groups: list[str], classes: int) -> Judged:
    """Return images, (classes, n) of which are named rightly or as the next class."""
    labels = np.repeat(np.arange(classes), right.shape[1])
    named = np.where(right.ravel(), labels, labels + 1)
    probabilities = np.eye(classes + 1)[named]
    return Judged(
        labels, probabilities, tuple(f"{group} {code}" for code in range(classes) for group in groups)
    )


def study(design: Design, number: int) -> list[Detection]:
    """Return the detections of one study."""
    random = numpy_generator("detection study", design.name, number)
    luck = random.normal(0, design.lesion, (design.classes, design.lesions))
    found = []
    for seed in range(design.seeds):
        tested = np.sort(random.permutation(design.lesions)[: round(0.3 * design.lesions)])
        moved = random.normal(0, design.between, (2, design.classes, 1))
        real = expit(design.level + moved[0] + luck[:, tested])
        drawn = np.broadcast_to(expit(design.level - design.drop + moved[1]), (design.classes, design.images))
        parts = [
            judged(
                random.random(drawn.shape) < drawn,
                [f"{seed}-{one}" for one in range(design.images)],
                design.classes,
            ),
            judged(random.random(real.shape) < real, [str(one) for one in tested], design.classes),
        ]
        names = tuple(str(code) for code in range(design.classes + 1))
        found.append(Detection("generator", seed, names, *parts))
    return found


def coverage(design: Design, studies: int, replicates: int) -> tuple[FloatArray, float]:
    """Return how often the intervals of share, detection and recall hold what is true, and how many err.

    Args:
        design: of the studies.
        studies: how many.
        replicates: of the bootstrap.

    Returns:
        (3,) and the share of studies in which a class is called different that is not, all in [0, 1].
    """
    rate = chance_of(design.level - design.drop, design, lesions=False)
    recall = chance_of(design.level, design, lesions=True)
    truth = {"share": rate / recall, "detection": rate, "recall": recall}
    held, wrong = [], 0
    for number in range(studies):
        rows = detection_rows(study(design, number), replicates=replicates)
        held += [
            [row[f"{name}_ci_low"] <= value <= row[f"{name}_ci_high"] for name, value in truth.items()]  # type: ignore[literal-required]
            for row in rows
        ]
        wrong += any(
            not row["share_ci_low_corrected"] <= truth["share"] <= row["share_ci_high_corrected"]
            for row in rows
        )
    return np.mean(held, axis=0), wrong / studies


def calibrate(studies: int = 1000, replicates: int = 400) -> None:
    """Print for every design how many intervals hold what is true, and how many studies are wrong of a class.

    Args:
        studies: of each design.
        replicates: of the bootstrap.
    """
    print("design                       share  rate   recall | a class called different, corrected")
    for design in DESIGNS:
        held, wrong = coverage(design, studies, replicates)
        shares = "  ".join(f"{100 * one:5.1f}" for one in held)
        print(f"{design.name:28} {shares} | {100 * wrong:.1f}")


if __name__ == "__main__":
    auto_cli(calibrate, as_positional=False)
