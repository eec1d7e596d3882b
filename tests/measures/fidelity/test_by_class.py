import numpy as np

from skindiff.measures.fidelity.by_class import same_mix
from skindiff.report.fidelity import fidelity_section


def test_both_sides_have_as_many_of_each_class() -> None:
    first, second = [0] * 5 + [1] * 2 + [2], [1] * 9 + [0] * 3
    rows = same_mix(first, second, seed=0)
    for labels, chosen in zip((first, second), rows, strict=True):
        assert np.bincount([labels[row] for row in chosen]).tolist() == [3, 2]
        assert len(set(chosen)) == 5
    assert same_mix(first, second, seed=0) == rows
    assert same_mix(first, second, seed=1) != rows


def test_the_section_has_a_line_per_generator_and_says_the_warning_once() -> None:
    scores = dict.fromkeys(("precision", "recall", "density", "coverage"), 0.5)
    scores |= {"fid": 101.23, "kid": 0.01234, "kid_low": 0.01, "kid_high": 0.02}
    rows = [
        {"images": name, "seed": 0, "features": "f", "generated": 70, "scores": scores, "groups": []}
        | {"warning": "70 images"}
        for name in ("real training", "ddpm")
    ]
    rows[1]["groups"] = [{"by": "skin_type", "name": "V", "real": 9, "generated": 8, "scores": scores}]
    text = fidelity_section(rows).text
    assert "| ddpm, seed 0 | 70 | 101.2 | 0.0123 [0.0100, 0.0200] | 0.50 |" in text
    assert "By skin type:" in text
    assert "| ddpm, seed 0, V | 9 / 8 | 101.2 |" in text
    assert "By class" not in text
    assert text.count("70 images.") == 1
