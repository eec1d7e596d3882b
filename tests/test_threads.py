"""Threads that wait hardly spin, whoever starts the work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_scripts import load_script

REPOSITORY = Path(__file__).parents[1]
RECIPES = sorted((REPOSITORY / "recipes").glob("*.py"))
bench = load_script("bench_shared_machine")
_SEEN_BY_TORCH = """
import os, runpy, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"))
            raise SystemExit
sys.meta_path.insert(0, Watch())
runpy.run_path(sys.argv[1])
"""


def _without(*names: str, **more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in names} | more


def _run(code: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=_without("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", **environment),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_has_said_so_before_torch_is_imported(recipe: Path) -> None:
    assert _run(_SEEN_BY_TORCH, str(recipe)).stdout.strip() == "passive"


def test_commands_too() -> None:
    code = _SEEN_BY_TORCH.replace("runpy.run_path(sys.argv[1])", "import skindiff.cli, torch")
    assert _run(code).stdout.strip() == "passive"


def test_libgomp_takes_it() -> None:
    done = _run("import skindiff, torch", OMP_DISPLAY_ENV="verbose")
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("torch has another OpenMP than libgomp here")
    assert "GOMP_SPINCOUNT = '1000'" in done.stderr


def test_what_a_user_has_set_stays() -> None:
    names = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
    code = f"import os, skindiff; print(*map(os.environ.get, {names}))"
    assert _run(code, OMP_WAIT_POLICY="active").stdout.split() == ["active", "None"]
    assert _run(code, GOMP_SPINCOUNT="7").stdout.split() == ["passive", "7"]


@pytest.mark.slow
def test_the_benchmark_measures_all_six(capsys: pytest.CaptureFixture[str]) -> None:
    found = bench.main(bench.Bench(seconds=0.1, turns=1))
    assert len(found) == 6
    assert all(speed > 0 for speeds in found.values() for speed in speeds)
    assert "spinning, beside another: median" in capsys.readouterr().out
