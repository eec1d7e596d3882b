"""The script that measures how processes share the encoding."""

from types import ModuleType

import pytest

from skindiff.errors import ConfigError
from tests.test_scripts import load_script


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return load_script("bench_encoding")


def test_nothing_to_measure_is_refused(bench: ModuleType) -> None:
    with pytest.raises(ConfigError, match=r"turns, images and processes are 0, 512 and \[1, 2\]"):
        bench.main(bench.Bench(turns=0))


@pytest.mark.slow
def test_two_processes_share_the_work(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    found = bench.main(bench.Bench(turns=1, images=64, batch_size=8))
    one, two = (found[count][0]["processor_seconds"] for count in (1, 2))
    assert two < 0.8 * one, "half of the shards each, and what both do"
    assert "2 process(es): " in capsys.readouterr().out
