"""What ``import skindiff`` offers: by name, in ``dir``, and nothing else."""

import pytest

import skindiff
from skindiff.corpora.registry import register_corpus
from skindiff.generators.families import register_family
from skindiff.generators.resolve import load


def test_public_names_are_those_of_their_rooms() -> None:
    assert skindiff.load is load
    assert skindiff.register_corpus is register_corpus
    assert skindiff.register_family is register_family
    assert set(skindiff.__all__) == {"load", "register_corpus", "register_family"}
    assert set(skindiff.__all__) <= set(dir(skindiff))
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        skindiff.laod  # noqa: B018
