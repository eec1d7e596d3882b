"""What arms are compared with."""

import pytest

from skindiff.classification.contrasts import PrimaryContrast, default_primary, lost_references, references_of
from skindiff.errors import ConfigError

ARMS = [
    *("real", "syn", "real+syn", "real+duplicates", "real+colour", "real+geometric", "real+weighted"),
    *("real+syn+weighted", "real+syn:tone", "real+syn:random", "real+syn+mixed"),
    *("real+syn+downweighted", "real+duplicates+downweighted", "real+syn+pretrained"),
]


@pytest.mark.parametrize(
    ("arm", "references"),
    [
        ("real", []),
        ("real+geometric", ["real"]),
        ("real+duplicates", ["real"]),
        ("syn", ["real", "real+duplicates", "real+colour", "real+geometric"]),
        ("real+syn", ["real", "real+duplicates", "real+colour", "real+geometric"]),
        ("real+syn+mixed", ["real", "real+duplicates", "real+colour", "real+geometric"]),
        ("real+syn+weighted", ["real+weighted"]),
        ("real+syn+downweighted", ["real", "real+duplicates+downweighted", "real+geometric", "real+syn"]),
        ("real+syn+pretrained", ["real", "real+geometric", "real+syn"]),
        ("real+duplicates+downweighted", ["real", "real+duplicates"]),
        ("real+syn:random", ["real", "real+duplicates", "real+colour", "real+geometric"]),
        ("real+syn:tone", ["real", "real+duplicates", "real+colour", "real+geometric", "real+syn:random"]),
    ],
)
def test_an_arm_is_compared_with_itself_without_the_factor(arm: str, references: list[str]) -> None:
    assert references_of(arm, ARMS) == references


def test_an_arm_without_its_own_reference_is_named() -> None:
    arms = ["real", "real+syn+weighted", "real+syn"]
    assert references_of("real+syn+weighted", arms) == ["real"]
    assert lost_references(arms) == {"real+syn+weighted": "real+weighted"}
    assert lost_references(ARMS) == {}
    assert references_of("arm-1", ["real", "arm-1"]) == ["real"]


def test_a_primary_contrast_needs_its_arms() -> None:
    assert default_primary(ARMS) == PrimaryContrast()
    assert default_primary(["real", "syn"]) is None
    with pytest.raises(ConfigError, match=r"primary.then: 'real\+colour' is not among the arms"):
        PrimaryContrast(then="real+colour").check_arms(["real", "real+syn"], "primary.")
    with pytest.raises(ConfigError, match="metric: 'kappa' is not one of accuracy"):
        PrimaryContrast(metric="kappa").validate()
    with pytest.raises(ConfigError, match="metric: 'calibration_error' is not one of"):
        PrimaryContrast(metric="calibration_error").validate()
    with pytest.raises(ConfigError, match="must differ"):
        PrimaryContrast(reference="real+syn").validate()
