"""What ``import skindiff`` offers: by name, in ``dir``, and nothing else."""

import subprocess
import sys

import pytest

import skindiff
from skindiff.corpora.registry import register_corpus

NAMES = """compare evaluate evaluate_elsewhere fidelity find_copies find_label_errors generate load
load_corpus make_split push read_image register_corpus register_family train_classifier train_generator
train_lora train_textual_inversion transfer"""


def test_public_names_are_those_of_their_rooms() -> None:
    assert skindiff.__all__ == sorted(NAMES.split())
    assert skindiff.register_corpus is register_corpus
    for name in skindiff.__all__:
        assert getattr(skindiff, name).__name__ == name
    assert set(skindiff.__all__) <= set(dir(skindiff))
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        skindiff.laod  # noqa: B018


def test_the_package_alone_is_light() -> None:
    code = "import sys, skindiff; assert not {'torch', 'datasets', 'pandas'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
