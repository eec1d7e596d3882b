"""What tests of small experiments share: no real data, one process."""

import pytest
from accelerate import Accelerator
from datasets import Dataset

from skindiff.corpora.splits import Split
from tests.classification.engine import make_corpus, make_split


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    return make_corpus()


@pytest.fixture(scope="module")
def split(corpus: Dataset) -> Split:
    return make_split(corpus)
