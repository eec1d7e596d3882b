"""The published results on MedMNIST: Chaptoukaev (150 images per class) and Le Roux (the full sets).

Subsets: H. Chaptoukaev, "The Effectiveness of Generative Models for Data Augmentation in Medical
Applications", Table 2. ResNet-18 at 28 px; the best test epoch of 100, one run.
Whole sets: Q. Le Roux, "Exploring the Impact of Deep Learning Data Augmentation on Medical Imagery
Classification", Tables 2 to 4. The MedMNIST team's CNN at 28 px, weights of the best validation epoch of
20, one run. Data sets have the names of the medmnist package. What does not fit together in the papers
stands in :data:`SUBSET_NOTES` and :data:`AUGMENT_NOTES`.
"""

from skindiff.report.published.fitzpatrick import Published

SUBSETS = "Chaptoukaev, The Effectiveness of Generative Models for Data Augmentation in Medical Applications"
AUGMENT = "Le Roux, Exploring the Impact of Deep Learning Data Augmentation on Medical Imagery Classification"

_SUBSET_METHODS = (
    ("", "real"),
    ("fc_autoencoder", "real+syn"),
    ("fc_cvae", "real+syn"),
    ("fc_gan", "real+syn"),
)
_SUBSET_SIZES = {
    "pathmnist": (1350, 9),
    "dermamnist": (1050, 7),
    "octmnist": (600, 4),
    "pneumoniamnist": (300, 2),
    "breastmnist": (546, 2),
    "organamnist": (1650, 11),
    "organcmnist": (1650, 11),
    "organsmnist": (1650, 11),
}
"""Chaptoukaev's Table 1: training images and classes; 150 more per class are generated."""
_SUBSET_TABLE = """
pathmnist       0.936 0.740  0.924 0.708  0.887 0.614  -     -
dermamnist      0.843 0.698  0.832 0.682  0.820 0.686  -     -
octmnist        0.791 0.501  0.833 0.564  0.813 0.543  0.803 0.557
pneumoniamnist  0.942 0.845  0.949 0.842  0.942 0.859  0.948 0.856
breastmnist     0.872 0.807  0.885 0.833  0.901 0.864  0.850 0.796
organamnist     0.971 0.781  0.978 0.819  0.981 0.810  0.972 0.783
organcmnist     0.976 0.824  0.982 0.844  0.982 0.842  0.979 0.845
organsmnist     0.940 0.641  0.939 0.659  0.928 0.644  0.931 0.652
"""
"""Chaptoukaev's Table 2: AUC and ACC without augmentation, with the autoencoder, the cVAE and the cGAN."""

_TRAIN_SIZES = {
    "pathmnist": (89996, 3599),
    "dermamnist": (7007, 700),
    "octmnist": (97477, 3899),
    "pneumoniamnist": (4708, 470),
    "breastmnist": (546, 54),
    "organamnist": (34581, 1729),
    "organcmnist": (13000, 1300),
    "organsmnist": (13940, 1394),
}
"""Le Roux's Table 1 and section 2.6: training images, and how many the cVAE and the cGAN each add."""
_AUGMENT_TABLES: dict[int, tuple[tuple[tuple[str, str], ...], str]] = {
    2: (
        (("", "real"), ("", "real+weighted"), ("", "real+geometric"), ("", "real+geometric+weighted")),
        """
        pathmnist       97.99 84.36  96.67 79.93  98.94 87.97  99.14 88.29
        dermamnist      89.21 65.94  89.62 69.43  89.97 66.53  89.43 64.39
        octmnist        93.40 70.40  94.29 76.6   91.54 68.8   92.98 74.20
        pneumoniamnist  95.80 85.58  96.07 87.98  95.74 86.38  96.66 90.38
        breastmnist     88.35 82.69  86.45 84.62  82.14 78.21  83.02 67.95
        organamnist     99.12 88.10  99.14 88.49  98.87 87.03  98.85 87.43
        organcmnist     98.72 86.25  98.74 86.32  98.35 83.19  98.30 81.66
        organsmnist     97.46 71.92  96.42 71.94  95.42 68.64  95.27 63.95
        """,
    ),
    3: (
        (("cvae_conv", "real+syn"), ("joint_vae", "real+syn"), ("attention_gan", "real+syn")),
        """
        pathmnist       98.11 87.49  97.90 85.08  97.76 85.52
        dermamnist      90.32 74.71  90.34 73.22  90.13 71.67
        octmnist        93.53 72.50  93.20 73.00  92.93 67.30
        pneumoniamnist  96.81 86.38  93.52 85.58  96.27 85.42
        breastmnist     87.49 78.85  84.02 77.56  83.31 80.77
        organamnist     99.00 87.87  98.98 88.08  99.07 88.54
        organcmnist     98.66 86.59  98.43 85.87  98.66 85.43
        organsmnist     96.01 70.98  95.86 69.66  96.46 72.27
        """,
    ),
    4: (
        (
            ("cvae_conv", "real+syn+weighted"),
            ("joint_vae", "real+syn+weighted"),
            ("attention_gan", "real+syn+weighted"),
        ),
        """
        pathmnist       97.95 86.16  96.12 74.81  96.28 79.54
        dermamnist      90.21 73.02  88.68 66.38  88.54 68.93
        octmnist        91.99 74.10  93.70 72.30  92.17 70.00
        pneumoniamnist  95.30 84.78  94.77 89.42  95.87 87.02
        breastmnist     85.69 82.69  86.93 80.13  89.33 85.9
        organamnist     99.15 88.57  99.06 88.33  99.08 88.20
        organcmnist     98.53 86.07  98.54 85.27  98.83 86.94
        organsmnist     96.01 71.57  95.60 68.86  96.16 71.47
        """,
    ),
}
"""Le Roux's Tables 2 to 4: (generator, arm) of each pair of columns, and the rows of AUC and accuracy."""

SUBSET_NOTES: tuple[str, ...] = (
    "Chaptoukaev reports the best test accuracy of 100 epochs, which is chosen by the images it is measured "
    "on. "
    "Compare it with our best test epoch; our own result is that of the epoch that validation chose.",
    "Chaptoukaev's BreastMNIST is the whole set (546 and 78 images), not 150 per class. With 156 test images "
    "no "
    "count gives an accuracy of 0.864 (134 are 0.859, 135 are 0.865) or 0.796 (124 are 0.795, 125 are "
    "0.801).",
    "Chaptoukaev is one run without intervals; one BreastMNIST test image is 0.6 points.",
    "Chaptoukaev's augmented arms have more images in as many epochs, so more steps than its baseline.",
    "Chaptoukaev's axial organ test has 8,889 images, Le Roux's 17,778; the medmnist package decides here.",
    "Chaptoukaev's ResNet-18 is not described beyond its name and input; ours has timm's stem (7 x 7, stride "
    "2, "
    "max pooling), which leaves 28 px a 1 x 1 map.",
)
"""What to know when Chaptoukaev's numbers are shown beside ours."""

AUGMENT_NOTES: tuple[str, ...] = (
    "Le Roux is one run without intervals, and says itself that the more cases are tried the likelier one "
    "improves; one BreastMNIST test image is 0.64 points, and its 78 validation images choose the epoch.",
    "Le Roux's Table 5 gives +1.41 for weighted sampling with the cGAN over weighted sampling alone on "
    "BreastMNIST; by Tables 2 and 4 it is 85.9 - 84.62 = 1.28.",
    "Le Roux's Table 3 prints in bold cVAE accuracy 72.50 on OCTMNIST and cGAN AUC 83.31 on BreastMNIST, "
    "where "
    "other columns hold 73.00 and 87.49.",
    "Le Roux latent sizes differ between text (150; 100 and 50; 128) and layer tables (100; 100 and 10; "
    "100).",
    "Le Roux has a binary cross-entropy for two classes and so says nothing of the last layer; ours has one "
    "output per class and the cross-entropy, which is the same loss.",
    "Le Roux's sharpness factor is not given (torchvision's has no default): 2 here.",
)
"""What to know when Le Roux's numbers are shown beside ours."""


def _pairs(words: list[str]) -> list[tuple[float, float] | None]:
    """Return (AUC, accuracy) of each pair of columns, None where a dash is printed."""
    return [
        None if auc == "-" else (float(auc), float(accuracy))
        for auc, accuracy in zip(words[::2], words[1::2], strict=True)
    ]


def published_subsets(dataset: str) -> list[Published]:
    """Return Chaptoukaev's Table 2 on a data set, in percent: best test epoch, metrics ``auroc`` and
    ``accuracy``.

    ``strategy`` is the generator's family, ``""`` without one; a data set that Chaptoukaev lacks has no rows.
    """
    rows = []
    for line in _SUBSET_TABLE.strip().splitlines():
        name, *words = line.split()
        if name != dataset:
            continue
        size, classes = _SUBSET_SIZES[name]
        for (strategy, arm), scores in zip(_SUBSET_METHODS, _pairs(words), strict=True):
            total = size + (150 * classes if strategy else 0)
            for metric, value in zip(("auroc", "accuracy"), scores or (), strict=False):
                rows.append(
                    Published(
                        2, name, "all", "resnet18", strategy, arm, total, metric, round(100 * value, 1), None,
                        SUBSETS,
                    )
                )  # fmt: skip
    return rows


def published_augment(dataset: str) -> list[Published]:
    """Return Le Roux's Tables 2 to 4 on a data set, in percent, metrics ``auroc`` and ``accuracy``.

    ``strategy`` is the generator's family, ``""`` without one; a data set that Le Roux lacks has no rows. The
    Joint VAE's number of images is not printed.
    """
    rows = []
    for table, (columns, printed) in _AUGMENT_TABLES.items():
        for line in printed.strip().splitlines():
            name, *words = line.split()
            if name != dataset:
                continue
            size, drawn = _TRAIN_SIZES[name]
            for (strategy, arm), scores in zip(columns, _pairs(words), strict=True):
                total = None if strategy == "joint_vae" else size + (drawn if strategy else 0)
                for metric, value in zip(("auroc", "accuracy"), scores or (), strict=False):
                    rows.append(
                        Published(
                            table, name, "all", "medmnist_cnn", strategy, arm, total, metric, value, None,
                            AUGMENT,
                        )
                    )  # fmt: skip
    return rows
