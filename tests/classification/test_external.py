"""What the classes of another corpus are in a study, and how a classifier's answers are read for them."""

import numpy as np
import pytest

from skindiff.classification.cells import Cell, CellKey
from skindiff.classification.external import ClassTable, ExternalConfig, validate_external
from skindiff.errors import ConfigError

OURS = ("mel", "nv", "bcc")


def table(theirs: tuple[str, ...], **settings: object) -> ClassTable:
    return ClassTable.of(ExternalConfig(**settings), OURS, theirs, "external.clinic.")


def test_names_are_mapped_and_all_of_ours_may_be_answered() -> None:
    found = table(("melanoma", "mole", "acne"), classes={"melanoma": "mel", "mole": "nv"})
    assert found.names == OURS
    assert found.theirs == {"melanoma": 0, "mole": 1, "acne": None}
    probabilities = np.array([[0.2, 0.3, 0.5]])
    assert np.array_equal(found.collapse(probabilities), probabilities)


def test_the_same_name_is_the_same_class_unless_it_is_said() -> None:
    assert table(("nv", "mel", "acne")).theirs == {"nv": 1, "mel": 0, "acne": None}
    assert table(("nv", "mel", "bcc"), classes={"mel": None}).theirs["mel"] is None


def test_one_class_against_the_rest_adds_up_the_others() -> None:
    found = table(("basalioma", "mole", "acne"), classes={"basalioma": "bcc", "mole": "rest"})
    assert found.names == ("bcc", "rest")
    assert found.theirs == {"basalioma": 0, "mole": 1, "acne": None}
    assert found.collapse(np.array([[0.2, 0.3, 0.5]])) == pytest.approx(np.array([[0.5, 0.5]]))
    assert table(("basalioma", "acne"), classes={"basalioma": "bcc"}, others="rest").theirs["acne"] == 1


def test_coarser_classes_are_sums_of_ours() -> None:
    ours = {"mel": "malignant", "bcc": "malignant", "nv": "benign"}
    found = table(("yes", "no"), classes={"yes": "malignant", "no": "benign"}, ours=ours)
    assert found.names == ("malignant", "benign")
    assert found.collapse(np.array([[0.2, 0.3, 0.5]])) == pytest.approx(np.array([[0.7, 0.3]]))


def test_what_is_asked_here_is_what_is_asked_there() -> None:
    cell = Cell(
        CellKey("s", "all", None, None, "real", None, "probe:lite0", "grouped", 0, 0), OURS,
        ("a", "b", "c"), ("1", "2", "3"), (None, None, None), np.array([0, 1, 2]),
        np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]), 0,
        attributes={"sex": ("f", "m", None)},
    )  # fmt: skip
    found = table(("basalioma", "mole"), classes={"basalioma": "bcc", "mole": "rest"})
    asked = found.asked_here(cell, [0, 1])
    assert asked.labels.tolist() == [1, 1, 0]
    assert asked.probabilities == pytest.approx(np.array([[0.2, 0.8], [0.1, 0.9], [0.6, 0.4]]))
    assert table(("mel", "nv")).asked_here(cell, [0, 1]).image_ids == ("a", "b")
    assert table(("mel", "nv")).asked_here(cell, [0, 1]).attributes == {"sex": ("f", "m")}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"classes": {"mole": "nv", "wart": "bcc"}}, r"clinic\.classes: 'wart' is no class of the corpus"),
        ({"classes": {"mole": "nevus"}}, "'nevus' is none of the study's classes, which are mel, nv, bcc"),
        ({"classes": {"mole": "nv"}, "ours": {"df": "nv"}}, r"ours: 'df' is no class of the study"),
        ({"classes": {"mole": "x"}, "ours": dict.fromkeys(OURS, "x")}, "nothing to tell apart"),
        ({}, "no class of phantom, which has mole, acne, is any of the study's"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_is_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        table(("mole", "acne"), **settings)


def test_names_and_thresholds_that_cannot_be_are_refused() -> None:
    for name in ("", "a b", "../x", "x" * 41, "a-b"):
        with pytest.raises(ConfigError, match="is the name of a folder"):
            validate_external({name: ExternalConfig()}, "experiment.external")
    with pytest.raises(ConfigError, match=r"experiment\.external\.a\.twins_from: 0 is not above 0"):
        validate_external({"a": ExternalConfig(twins_from=0)}, "experiment.external")
