import importlib.util
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
import torch
from jsonargparse import auto_cli

from skindiff.errors import ConfigError, SkindiffError
from tests.conftest import REPOSITORY
from tests.tiny import tiny_pipeline, tiny_sdxl


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sd21() -> ModuleType:
    return load_script("check_sd21")


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return load_script("bench_fitz_lora")


@pytest.fixture(scope="module")
def full_size() -> ModuleType:
    return load_script("bench_full_size")


@pytest.fixture
def checkout(tmp_path: Path, bench: ModuleType) -> Path:
    """A git checkout that has the two scripts by name."""
    for script in bench.SCRIPTS.values():
        path = tmp_path / "diffusers" / script
        path.parent.mkdir(parents=True)
        path.write_text("")
    return tmp_path / "diffusers"


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class TestCheckSD21:
    def test_parses_its_arguments(self, sd21: ModuleType) -> None:
        words = ["--dtype", "bfloat16", "--batch_size", "2", "--gradient_checkpointing", "true"]
        settings = auto_cli(sd21.CheckSD21, as_positional=False, args=words)
        assert (settings.dtype, settings.batch_size, settings.gradient_checkpointing) == ("bfloat16", 2, True)
        assert settings.device == "cpu"

    def test_refuses_an_unknown_argument(self, sd21: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            auto_cli(sd21.CheckSD21, as_positional=False, args=["--dtype", "float8"])
        assert "float8" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"batch_size": 0}, "batch_size is 0: set it to at least 1"),
            ({"image_size": 500}, "image_size is 500: set it to a multiple of 64"),
            ({"threads": 0}, "threads is 0"),
            ({"dtype": "float16"}, "dtype is float16.*bfloat16"),
        ],
    )
    def test_refuses_what_cannot_work(self, sd21: ModuleType, setting: dict, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            sd21.main(sd21.CheckSD21(**setting))

    def test_has_the_vocabulary_layout_of_stable_diffusion_2(self, sd21: ModuleType) -> None:
        tokenizer = sd21.build_tokenizer()
        assert len(tokenizer) == 49408
        assert tokenizer.model_max_length == 77
        assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (49406, 49407)
        assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("!", 0)
        # Ids that CLIP's own vocabulary has.
        assert tokenizer.convert_tokens_to_ids(["a", "!</w>", "a</w>"]) == [64, 256, 320]
        ids = tokenizer("an Image of\nskin é 火", padding="max_length").input_ids
        assert len(ids) == 77
        assert tokenizer.unk_token_id not in ids[:5]
        assert tokenizer.decode(ids[1:5]) == "an image of skin"
        assert tokenizer.tokenize("skin") == ["skin</w>"]

    def test_has_the_networks_of_stable_diffusion_2(self, sd21: ModuleType) -> None:
        with torch.device("meta"):
            pipeline = sd21.build_pipeline(0)
        counts = [
            sum(parameter.numel() for parameter in module.parameters())
            for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder)
        ]
        assert counts == [865_910_724, 83_653_863, 340_387_840]

    def test_goes_through_every_stage(
        self, sd21: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sd21, "build_pipeline", lambda seed: tiny_pipeline())
        sd21.main(sd21.CheckSD21(image_size=64, batch_size=2, gradient_checkpointing=True))
        lines = capsys.readouterr().out.splitlines()
        stages = ["build", "textual inversion", "LoRA", "reload adapter", "img2img batch"]
        assert [
            stage for stage, line in zip(stages, lines[1:], strict=True) if line.startswith(stage)
        ] == stages
        assert "2 of 2 images" in lines[-1]
        assert all("GiB" in line for line in lines[1:])

    @pytest.mark.slow
    def test_runs_on_the_cpu(self, sd21: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
        sd21.main(sd21.CheckSD21())
        lines = capsys.readouterr().out.splitlines()
        assert "1 of 1 images" in lines[-1]
        assert max(float(line.split("peak")[1].split("GiB")[0]) for line in lines[1:]) < 20

    @pytest.mark.gpu
    def test_runs_on_a_gpu(self, sd21: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
        sd21.main(sd21.CheckSD21(device="cuda", dtype="bfloat16", batch_size=4))
        assert "4 of 4 images" in capsys.readouterr().out


class TestBench:
    def test_parses_its_arguments(self, bench: ModuleType) -> None:
        words = ["--diffusers_repository", "somewhere", "--turns", "3"]
        config = auto_cli(bench.Bench, as_positional=False, args=words)
        assert (config.diffusers_repository, config.turns, config.model) == ("somewhere", 3, "bundled")

    def test_needs_a_checkout(self, bench: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"diffusers_repository: .* has no examples/"):
            bench.main(bench.Bench(diffusers_repository=str(tmp_path)))

    def test_needs_a_commit(self, bench: ModuleType, checkout: Path) -> None:
        with pytest.raises(ConfigError, match="git names no commit"):
            bench.main(bench.Bench(diffusers_repository=str(checkout)))

    def test_names_the_commit(self, bench: ModuleType, checkout: Path) -> None:
        git(checkout, "init", "-q")
        git(checkout, "add", ".")
        git(checkout, "commit", "-q", "-m", "Add")
        assert bench.commit_of(str(checkout)) == git(checkout, "rev-parse", "HEAD")

    @pytest.mark.parametrize("setting", [{"turns": 0}, {"steps": 0}, {"batches": 5}, {"sources": 71}])
    def test_refuses_what_cannot_work(self, bench: ModuleType, checkout: Path, setting: dict) -> None:
        with pytest.raises(ConfigError, match=f"{next(iter(setting))} (is )?"):
            bench.check(bench.Bench(diffusers_repository=str(checkout), **setting))

    @pytest.mark.slow
    def test_times_a_process_only_while_it_works(self, bench: ModuleType, tmp_path: Path) -> None:
        script = tmp_path / "training.py"
        script.write_text(
            "import time, torch\n"
            "weight = torch.nn.Parameter(torch.ones(1))\n"
            "optimiser = torch.optim.SGD([weight], lr=0.1)\n"
            "while True:\n"
            "    time.sleep(0.02); weight.grad = torch.ones(1); optimiser.step()\n"
            "    print('a bar that goes on\\r', end='')\n"
        )
        trainee = bench.Trainee("sleeper", [str(script)], 1, tmp_path)
        try:
            for _ in range(2):
                wall, cpu = trainee.work(20)
                assert 5 < wall < 51
                assert cpu > wall
            deadline = time.monotonic() + 30
            while trainee.process.status() != psutil.STATUS_STOPPED:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert 0.05 < trainee.end() < 5
        finally:
            trainee.stop()

    @pytest.mark.slow
    def test_tells_why_a_process_stopped(self, bench: ModuleType, tmp_path: Path) -> None:
        script = tmp_path / "training.py"
        script.write_text("raise SystemExit('no such model')")
        trainee = bench.Trainee("script", [str(script)], 1, tmp_path)
        with pytest.raises(SkindiffError, match="script stopped before it was timed: no such model"):
            trainee.work(1)
        trainee.stop()

    def test_compares_turn_by_turn(self, bench: ModuleType) -> None:
        result = bench.compare([((1.0, 2.0), (2.0, 6.0)), ((4.0, 2.0), (4.0, 4.0)), ((1.0, 1.0), (3.0, 1.5))])
        assert result["ratio"] == {"median": 2.0, "low": 1.0, "high": 3.0}
        assert result["cpu_ratio"]["median"] == 2.0
        text = bench.table({"LoRA, steps/s": result | {"aim": 1.5}})
        assert "2.00 (1.00 to 3.00)" in text
        assert text.endswith("1.5 met")
        json.dumps(result)

    def test_gives_both_sides_the_same_settings(self, bench: ModuleType, tmp_path: Path) -> None:
        config = bench.Bench(diffusers_repository=str(tmp_path), batch_size=3)
        theirs = bench.their_words(tmp_path / "script.py", "lora", tmp_path, size=64, batch_size=3)
        assert theirs[theirs.index("--train_batch_size") + 1] == "3"
        assert theirs[theirs.index("--resolution") + 1] == "64"
        assert "--batch_size=3" in bench.our_command("lora", config, tmp_path)


class TestFullSize:
    def test_builds_the_published_shapes(
        self, full_size: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        floor = sys.modules["bench_floor"]
        monkeypatch.setattr(floor, "device", lambda: torch.device("meta"))
        pipeline = full_size.random_pipeline("sdxl")
        assert sum(one.numel() for one in pipeline.unet.parameters()) == 2_567_463_684
        pipeline = full_size.random_pipeline("sd21-base")
        assert sum(one.numel() for one in pipeline.unet.parameters()) == 865_910_724

    @pytest.mark.parametrize("build", [tiny_pipeline, tiny_sdxl])
    def test_its_loss_is_that_of_the_scripts(self, full_size: ModuleType, build: Callable[..., Any]) -> None:
        found = full_size.losses(build(), 64, 3)
        assert found["ours"] == pytest.approx(found["theirs"], rel=1e-6)
        assert found["ours"] > 0.1

    def test_has_no_script_for_words_of_sdxl(self, full_size: ModuleType) -> None:
        config = full_size.Bench("somewhere", architecture="sdxl", training="textual_inversion")
        with pytest.raises(ConfigError, match="training is textual_inversion, of which diffusers has no"):
            full_size.main(config)

    @pytest.mark.parametrize("setting", [{"turns": 0}, {"images": 1, "batch_size": 2}, {"image_size": 100}])
    def test_refuses_what_cannot_work(self, full_size: ModuleType, setting: dict) -> None:
        with pytest.raises(ConfigError, match=f"{next(iter(setting))} is "):
            full_size.check(full_size.Bench("somewhere", **setting))

    @pytest.mark.slow
    def test_trains_transfers_and_counts(
        self, full_size: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A script of three lines stands for diffusers' own, which no test can have."""
        script = tmp_path / full_size.SCRIPTS["sd21-base", "lora"]
        script.parent.mkdir(parents=True)
        script.write_text(
            "import time, torch\n"
            "optimiser = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)\n"
            "while True: time.sleep(0.02); optimiser.step()\n"
        )
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Add"]):
            git(tmp_path, *words)
        monkeypatch.setattr(full_size, "random_pipeline", lambda name: tiny_pipeline())
        output = tmp_path / "bench.json"
        sizes = {"image_size": 64, "steps": 2, "turns": 2, "threads": 1, "transfer_steps": 4}
        full_size.main(full_size.Bench(str(tmp_path), output=str(output), **sizes))
        record = json.loads(output.read_text())
        assert record["flop_of_a_step"] > 1e6
        assert set(record["training"]["rates"]) == {"ours", "floor"}
        assert record["training"]["peak_gib"].keys() == {"theirs", "ours"}
        assert record["encoding"]["ours"] > 0
        assert record["transfer"]["ratio"]["median"] > 0


class TestRunSeeds:
    @pytest.fixture
    def seeds(self) -> ModuleType:
        return load_script("run_seeds")

    @pytest.fixture
    def settings(self, seeds: ModuleType, tmp_path: Path) -> Callable[..., Any]:
        """Settings of a recipe of three lines, which writes its words down; that of seed 3 fails."""
        recipe = tmp_path / "recipe.py"
        recipe.write_text(
            "import pathlib, sys, time\n"
            "folder = pathlib.Path(sys.argv[sys.argv.index('--output_dir') + 1])\n"
            "folder.mkdir(exist_ok=True)\n"
            "(folder / 'words').write_text(' '.join(sys.argv)); time.sleep(60 * ('slow' in sys.argv))\n"
            "sys.exit('[3]' in sys.argv)\n"
        )
        given = {
            "recipe": str(recipe),
            "settings": str(recipe),
            "every": 0.1,
            "keep": str(tmp_path / "a.parquet"),
        }
        return lambda **more: seeds.Seeds(**{**given, "folder": str(tmp_path / "runs"), **more})

    def test_runs_each_seed_and_says_which_failed(
        self, seeds: ModuleType, settings: Callable[..., Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert seeds.main(settings(seeds=[1, 2], setting="split_seeds")) == 0
        assert seeds.main(settings(seeds=[3])) == 1
        assert "failed: [3]" in capsys.readouterr().out
        words = [Path(settings(seeds=[]).folder, f"seed-{seed}", "words").read_text() for seed in (1, 2, 3)]
        assert ["--split_seeds [1]" in words[0], "--seeds [3]" in words[2]] == [True, True]

    def test_stops_in_time_and_keeps_what_there_is(
        self,
        seeds: ModuleType,
        settings: Callable[..., Any],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        kept: list[list[str]] = []
        monkeypatch.setattr(seeds.keep_cells, "keep", lambda run, file: kept.append([run.name]) or "kept")
        began = time.monotonic()
        seeds.main(settings(seeds=[1, 2], at_once=1, minutes=0.08, further=["slow"]))
        assert time.monotonic() - began < 30
        assert kept[-1] == ["seed-1"]
        said = capsys.readouterr().out
        assert "begun and not finished: [1]" in said
        assert "not begun: [2]" in said

    @pytest.mark.slow
    def test_its_seeds_end_with_it(
        self, settings: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = vars(settings(seeds=[1], further=["slow"]))
        words = [
            f"--{name}={given[name]}" for name in ("recipe", "settings", "keep", "folder", "seeds", "further")
        ]
        script = subprocess.Popen([sys.executable, str(REPOSITORY / "scripts" / "run_seeds.py"), *words])
        written = Path(given["folder"], "seed-1", "words")
        while not written.exists():
            assert script.poll() is None
            time.sleep(0.1)
        (child,) = psutil.Process(script.pid).children()
        script.terminate()
        assert script.wait(60) == 143
        assert not child.is_running()

    def test_reads_the_words_of_its_example(self, seeds: ModuleType) -> None:
        example = seeds.__doc__.split("run_seeds.py ")[1].partition("\n\n")[0].replace("\\\n", " ")
        given = auto_cli(seeds.Seeds, as_positional=False, args=shlex.split(example))
        assert (given.seeds, given.at_once) == ([1, 2, 3, 4], 4)
        seeds.check(replace(given, **dict.fromkeys(("recipe", "settings"), __file__)))

    @pytest.mark.parametrize(
        "wrong",
        [{"seeds": []}, {"seeds": [1, 1]}, {"keep": "a.csv"}, {"recipe": "gone"}, {"at_once": 0}],
    )
    def test_refuses_what_cannot_work(
        self, seeds: ModuleType, settings: Callable[..., Any], wrong: dict
    ) -> None:
        with pytest.raises(ConfigError):
            seeds.main(settings(**{"seeds": [1], **wrong}))
