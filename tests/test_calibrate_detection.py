from dataclasses import replace

import numpy as np
import pytest
from calibrate_detection import DESIGNS, chance_of, coverage, study

THREE, HALF = DESIGNS[:2]


def test_a_simulated_study_is_what_its_design_says() -> None:
    alike = replace(THREE, between=0.0, lesion=0.0, lesions=20_000, images=20_000, drop=1.0)
    one = study(alike, 0)[0]
    assert one.generated.right.mean() == pytest.approx(chance_of(-1.0, alike, lesions=False), abs=0.02)
    assert one.held_out.right.mean() == pytest.approx(0.5, abs=0.02)
    assert len(one.held_out.labels) == 6000
    assert chance_of(0.0, THREE, lesions=True) == pytest.approx(0.5)
    assert chance_of(2.0, THREE, lesions=True) < chance_of(2.0, THREE, lesions=False)


def test_intervals_of_a_few_studies_hold_what_is_true() -> None:
    for design in (THREE, HALF):
        held, wrong = coverage(design, 60, replicates=100)
        assert held.shape == (3,)
        assert np.all(held >= 0.85)
        assert wrong <= 0.15
