import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset

from skindiff.errors import GeneratorError, SynthesisError
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.families import FAMILIES
from skindiff.generators.resolve import load
from skindiff.peers import Peers
from skindiff.synthesis import writer
from skindiff.synthesis.class_draw import ClassDrawer, redraw_class
from skindiff.synthesis.class_plan import ClassSynthesisConfig, drawn_features, make_class_plan
from skindiff.synthesis.class_synthesis import load_class_pipeline
from skindiff.synthesis.writer import load_synthetic, write_rows
from tests.synthesis.class_drawing import CONFIG, draw, sources
from tests.tiny import save_tiny_pipeline
from tests.tiny_generators import CLASSES, tiny_corpus_of_classes, tiny_ddpm
from tests.toy_family import TOY

REPOSITORY = Path(__file__).resolve().parents[2]


class Smearing(ClassConditionalPipeline):
    """Re-draws an image darker, with a little noise; grey if asked to."""

    family, needs_images = "smearing", True

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self._register(CLASSES, 8, channels)

    def draw(
        self, labels: torch.Tensor, generators: list, *, images: list, amount: float = 0.5
    ) -> torch.Tensor:
        shown = torch.stack(
            [torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1 for image in images]
        )
        noise = torch.stack([torch.randn(shown.shape[1:], generator=each) for each in generators])
        return (amount * shown + 0.01 * noise)[:, : self.config.channels]


@pytest.fixture(autouse=True)
def _one_thread_and_a_smearing_family(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setitem(FAMILIES, "smearing", replace(TOY, name="smearing", sampler=("amount",)))
    yield
    torch.set_num_threads(before)


def _shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def _plan(config: ClassSynthesisConfig, corpus: Dataset) -> Dataset:
    return make_class_plan(corpus, config, seed=1, family="smearing", generator="smearing@0", redraws=True)


def _write(plan: Dataset, folder: Path, drawer: ClassDrawer, rows_per_shard: int = 6) -> None:
    features = drawn_features(CLASSES)
    write_rows(Accelerator(cpu=True), plan, features, folder, lambda: drawer, rows_per_shard=rows_per_shard)


def test_a_class_plan_becomes_a_data_set_whose_rows_can_be_drawn_again(tmp_path: Path) -> None:
    synthetic = draw(tmp_path / "run")

    assert (synthetic.name, synthetic.summary["planned"], synthetic.summary["drawn"]) == ("ddpm", 7, 7)
    assert synthetic.summary["denoising_steps"] == {"ddpm, dpmsolver++, 2 steps": 2}
    assert synthetic.summary["shards"] == 4
    assert synthetic.generator.startswith("ddpm@")
    assert synthetic.dataset.features == drawn_features(CLASSES)
    assert synthetic.dataset["label"] == [0] * 2 + [1] * 5
    assert set(synthetic.dataset["generator"]) == {synthetic.generator}
    pipeline = load(tmp_path / "ddpm")
    for number in (0, 3, 6):
        row = synthetic.dataset[number]
        assert np.array_equal(np.asarray(redraw_class(row, pipeline)), np.asarray(row["image"]))
        assert row["image"].size == (8, 8)
    again = draw(tmp_path / "run")
    assert again.summary == synthetic.summary
    other = draw(tmp_path / "run", replace(CONFIG, guidance_scale=2.0, output_size=16))
    assert other.folder != synthetic.folder
    row = other.dataset[2]
    assert row["image"].size == (16, 16)
    assert np.array_equal(np.asarray(redraw_class(row, pipeline)), np.asarray(row["image"]))


@pytest.mark.slow
def test_a_killed_drawing_goes_on_to_the_same_bytes_and_processes_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = draw(tmp_path / "whole")
    program = ["-m", "tests.synthesis.class_drawing", str(tmp_path / "cut"), "--kill_at_shard", "1"]
    killed = subprocess.run([sys.executable, *program], cwd=REPOSITORY, capture_output=True, check=False)
    cut = tmp_path / "cut" / "stages" / whole.folder.parent.name / "data"

    assert killed.returncode == -9
    assert len(_shards(cut)) == 1
    assert _shards(draw(tmp_path / "cut").folder) == _shards(whole.folder)
    with monkeypatch.context() as patch:
        patch.setattr(Accelerator, "num_processes", 2)
        patch.setattr(Peers, "of", lambda *_: SimpleNamespace(meet=lambda doing: None))  # they take turns
        patch.setattr(Accelerator, "process_index", 1)
        patch.setattr(writer, "_summarise", lambda shards, timings: {"planned": 1, "drawn": 1})
        pipeline = load(tmp_path / "ddpm")
        plan = make_class_plan(sources(), CONFIG, seed=1, family="ddpm", generator=whole.generator)
        _write(plan, tmp_path / "second", ClassDrawer(pipeline), 2)
    assert _shards(tmp_path / "second") == {
        name: shard for name, shard in _shards(whole.folder).items() if name[10:15] in ("00001", "00003")
    }


def test_redrawn_images_follow_their_own_source(tmp_path: Path) -> None:
    pipeline, corpus = Smearing(), sources()
    options = {"smearing": {"amount": 0.9}}
    plan = _plan(ClassSynthesisConfig(per_class=4, batch_size=3, options=options), corpus)

    _write(plan, tmp_path, ClassDrawer(pipeline, corpus))

    drawn = load_synthetic(tmp_path)
    by_id = {row["image_id"]: np.asarray(row["image"], dtype=float) for row in corpus}
    assert len(drawn) == 8
    for row in drawn:
        expected = 0.9 * (by_id[row["source_id"]] - 127.5) + 127.5
        assert np.abs(np.asarray(row["image"]) - expected).max() < 8
    row = drawn[5]
    assert np.array_equal(np.asarray(redraw_class(row, pipeline, corpus)), np.asarray(row["image"]))
    with pytest.raises(SynthesisError, match=r"source_id .* is not among the sources"):
        redraw_class(row, pipeline, corpus.select([0]))
    with pytest.raises(SynthesisError, match="is of a smearing, but the generator is a ddpm"):
        redraw_class(row, tiny_ddpm())


def test_larger_sources_are_resampled_and_grey_images_are_kept_as_rgb() -> None:
    corpus = tiny_corpus_of_classes(6, size=16, grey=True)
    rows = _plan(ClassSynthesisConfig(per_class=1), corpus)

    drawn = ClassDrawer(Smearing(channels=1), corpus).draw(rows.to_list())

    assert drawn.images[0].shape == (8, 8, 3)
    assert (drawn.images[0] == drawn.images[0][..., :1]).all()


@pytest.mark.parametrize(("amount", "reason"), [(float("nan"), "not finite"), (1e9, "constant")])
def test_bad_images_are_refused(amount: float, reason: str) -> None:
    corpus = sources()
    rows = _plan(ClassSynthesisConfig(per_class=1), corpus).to_list()
    for row in rows:
        row["options"] = f'{{"amount": {"NaN" if amount != amount else amount}}}'

    drawn = ClassDrawer(Smearing(), corpus).draw(rows)

    assert drawn.refused == {0: reason, 1: reason}
    with pytest.raises(SynthesisError, match=f"gives an image that is {reason}"):
        redraw_class(rows[0], Smearing(), corpus)


def test_a_generator_of_other_classes_or_of_no_classes_is_named(tmp_path: Path) -> None:
    tiny_ddpm().save_pretrained(tmp_path / "ddpm")
    save_tiny_pipeline(tmp_path / "sd")
    corpus = sources()
    wrong = corpus.cast_column("label", type(corpus.features["label"])(names=["one", "three"]))

    with pytest.raises(SynthesisError, match=r"has 2 classes \(one, two\), but the corpus has 2"):
        load_class_pipeline(tmp_path / "ddpm", wrong)
    with pytest.raises(
        GeneratorError, match="is a StableDiffusionPipeline, which does not generate by class"
    ):
        load_class_pipeline(tmp_path / "sd", corpus)
