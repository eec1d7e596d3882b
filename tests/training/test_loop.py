import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from torch import nn

from skindiff.errors import ConfigError, TrainingError
from skindiff.training.checkpoints import newest_checkpoint, remove_checkpoints
from skindiff.training.loop import MicroBatch, micro_batches, train
from skindiff.training.loop_config import LoopConfig
from skindiff.training.samplers import epoch_batches, epoch_sizes, shuffled_batches, weighted_batches
from skindiff.training.schedules import learning_rate_factor
from tests.training.toy import ROWS, Toy, run_toy, table, toy_loss

FAST = LoopConfig(steps=12, batch_size=4, learning_rate=1e-2, checkpoint_every=4, log_every=1)


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


class Crash(Exception):
    pass


def crashing_at(step: int):
    def loss(module: nn.Module, batch: MicroBatch) -> torch.Tensor:
        if batch.step == step:
            raise Crash
        return toy_loss(module, batch)

    return loss


def same(a: nn.Module, b: nn.Module) -> bool:
    own, other = a.state_dict(), b.state_dict()
    return own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
def test_interrupted_equals_uninterrupted(accelerator, tmp_path, optimiser, ema_decay):
    config = replace(FAST, optimiser=optimiser, ema_decay=ema_decay, lr_schedule="cosine", warmup_steps=2)
    whole, cut = Toy(), Toy()
    expected = run_toy(accelerator, config, tmp_path / "whole", whole)
    with pytest.raises(Crash):
        run_toy(accelerator, config, tmp_path / "cut", cut, loss=crashing_at(6))
    fresh = Toy()
    log = run_toy(accelerator, config, tmp_path / "cut", fresh)
    assert log == expected
    assert same(whole, fresh)
    assert whole.seen == config.steps  # buffers resume too


def test_a_finished_training_is_not_repeated(accelerator, tmp_path):
    config = replace(FAST, ema_decay=0.9)
    first, second = Toy(), Toy()
    log = run_toy(accelerator, config, tmp_path, first)
    again = run_toy(accelerator, config, tmp_path, second, loss=crashing_at(config.steps - 1))
    assert again == log
    assert same(first, second)


def test_accumulation_follows_the_same_loss(accelerator, tmp_path):
    traces, modules = [], []
    for batch_size, accumulation in ((8, 1), (4, 2), (1, 8)):
        config = replace(
            FAST, batch_size=batch_size, gradient_accumulation_steps=accumulation, checkpoint_every=0
        )
        module = Toy(dropout=0.0)
        log = run_toy(accelerator, config, tmp_path, module)
        traces.append([[row["loss"], row["grad_norm"]] for row in log])
        modules.append(module)
    np.testing.assert_allclose(traces[1], traces[0], rtol=1e-5)
    np.testing.assert_allclose(traces[2], traces[0], rtol=1e-5)
    torch.testing.assert_close(modules[1].head.weight, modules[0].head.weight, rtol=1e-5, atol=1e-6)


def test_every_trainable_weight_moves_and_no_frozen_one(accelerator, tmp_path):
    module, start = Toy(), Toy()
    log = run_toy(accelerator, replace(FAST, steps=40), tmp_path, module)
    for (name, parameter), before in zip(module.named_parameters(), start.parameters(), strict=True):
        assert torch.equal(parameter, before) != parameter.requires_grad, name
    assert np.mean([row["loss"] for row in log[-10:]]) < np.mean([row["loss"] for row in log[:10]])
    assert [row["step"] for row in log] == list(range(1, 41))
    assert not module.training


class PlainSGD(torch.optim.SGD):
    def __init__(self, parameters, lr, weight_decay, fused):
        super().__init__(parameters, lr=lr)


@pytest.mark.parametrize(("bound", "clipped"), [(1e-3, True), (0.0, False), (1e6, False)])
def test_clipping_bounds_the_step(accelerator, tmp_path, monkeypatch, bound, clipped):
    # With plain gradient descent and a rate of 1 the weights move by exactly the (clipped) gradient.
    monkeypatch.setattr("torch.optim.AdamW", PlainSGD)
    module, start = Toy(), Toy()
    config = LoopConfig(steps=1, batch_size=4, learning_rate=1.0, max_grad_norm=bound, log_every=1)
    log = run_toy(accelerator, config, tmp_path, module)
    pairs = zip(module.parameters(), start.parameters(), strict=True)
    moved = math.sqrt(sum(float((new - old).detach().square().sum()) for new, old in pairs))
    assert log[0]["grad_norm"] > 1e-2  # logged before clipping
    assert moved == pytest.approx(bound if clipped else log[0]["grad_norm"], rel=1e-3)


def test_averaged_weights_are_what_is_validated_and_kept(accelerator, tmp_path):
    config = replace(FAST, ema_decay=0.5, checkpoint_every=0, validate_every=4)
    seen, kept = [], []

    def validate(module):
        assert not module.training
        seen.append(module.head.weight.clone())
        return {"score": float(module.head.weight.sum())}

    module, plain = Toy(), Toy()
    log = run_toy(
        accelerator,
        config,
        tmp_path,
        module,
        validate=validate,
        on_validate=lambda model, log: kept.append((log[-1]["step"], float(model.head.weight.sum()))),
    )
    run_toy(accelerator, replace(config, ema_decay=0.0), tmp_path, plain)
    assert [step for step, _ in kept] == [4, 8, 12]
    assert [row["score"] for row in log if "score" in row] == [score for _, score in kept]
    assert torch.equal(seen[-1], module.head.weight)
    assert not torch.equal(module.head.weight, plain.head.weight)
    # Averaging watches the training and does not touch it.
    assert log[-1]["loss"] == run_toy(accelerator, replace(config, ema_decay=0), tmp_path, Toy())[-1]["loss"]


def test_validation_does_not_disturb_training(accelerator, tmp_path):
    def validate(module):
        torch.manual_seed(0)
        return {"noise": float(torch.rand(()))}

    module, plain = Toy(), Toy()
    config = replace(FAST, checkpoint_every=0, validate_every=3)
    run_toy(accelerator, config, tmp_path, module, validate=validate)
    run_toy(accelerator, config, tmp_path, plain)
    assert same(module, plain)


@pytest.mark.parametrize("log_every", [1, 100])
def test_a_loss_that_is_not_finite_names_the_step(accelerator, tmp_path, log_every):
    def loss(module, batch):
        value = toy_loss(module, batch)
        return value * float("nan") if batch.step == 6 else value

    with pytest.raises(TrainingError, match=r"toy: loss is nan at step 7 of 12.*checkpoint-4"):
        run_toy(accelerator, replace(FAST, log_every=log_every), tmp_path, Toy(), loss=loss)
    assert newest_checkpoint(tmp_path).name == "checkpoint-4"
    whole, fresh = Toy(), Toy()
    expected = run_toy(accelerator, replace(FAST, checkpoint_every=0), tmp_path / "whole", whole)
    assert run_toy(accelerator, FAST, tmp_path, fresh) == expected
    assert same(whole, fresh)


@pytest.mark.parametrize("change", [{"learning_rate": 2e-2}, {"seed": 1}, {"batch_size": 2}])
def test_a_checkpoint_of_other_settings_is_refused(accelerator, tmp_path, change):
    run_toy(accelerator, FAST, tmp_path, Toy())
    with pytest.raises(TrainingError, match=next(iter(change))):
        run_toy(accelerator, replace(FAST, **change), tmp_path, Toy())


def test_a_checkpoint_of_other_data_or_weights_is_refused(accelerator, tmp_path):
    run_toy(accelerator, FAST, tmp_path, Toy(), context="corpus a")
    with pytest.raises(TrainingError, match=r"context='corpus a', now it is 'corpus b'"):
        run_toy(accelerator, FAST, tmp_path, Toy(), context="corpus b")
    other = Toy()
    other.hidden.requires_grad_(False)
    with pytest.raises(TrainingError, match="other weights"):
        run_toy(accelerator, FAST, tmp_path, other, context="corpus a")


def test_how_often_something_is_written_may_change(accelerator, tmp_path):
    run_toy(accelerator, FAST, tmp_path, Toy())
    log = run_toy(accelerator, replace(FAST, checkpoint_every=3, log_every=5), tmp_path, Toy())
    assert len(log) == FAST.steps


def test_half_written_checkpoints_are_passed_over(accelerator, tmp_path):
    with pytest.raises(Crash):
        run_toy(accelerator, FAST, tmp_path, Toy(), loss=crashing_at(9))
    (tmp_path / ".checkpoint-12.partial").mkdir()
    (tmp_path / "checkpoint-11").mkdir()
    (tmp_path / "checkpoint-11" / "state.json").write_text("{")
    assert newest_checkpoint(tmp_path).name == "checkpoint-8"
    whole, fresh = Toy(), Toy()
    run_toy(accelerator, FAST, tmp_path / "whole", whole)
    run_toy(accelerator, FAST, tmp_path, fresh)
    assert same(whole, fresh)
    assert [path.name for path in tmp_path.iterdir() if path.name != "whole"] == ["checkpoint-12"]
    (tmp_path / "checkpoint-8").mkdir()  # as a kill leaves it while the last one has made it superfluous
    (tmp_path / "checkpoint-8" / "done.json").write_text("{}")
    run_toy(accelerator, FAST, tmp_path, Toy())
    assert [path.name for path in tmp_path.iterdir() if path.name != "whole"] == ["checkpoint-12"]
    remove_checkpoints(tmp_path)
    assert newest_checkpoint(tmp_path) is None


def test_checkpoints_hold_no_pickled_objects_and_no_frozen_weights(accelerator, tmp_path):
    run_toy(accelerator, replace(FAST, ema_decay=0.9), tmp_path, Toy())
    checkpoint = newest_checkpoint(tmp_path)
    from safetensors.torch import load_file

    assert set(load_file(checkpoint / "weights.safetensors")) == {
        "hidden.weight",
        "hidden.bias",
        "head.weight",
        "head.bias",
        "seen",
    }
    states = torch.load(checkpoint / "optimiser.pt", weights_only=True)
    assert set(states) == {"optimiser", "ema"}
    assert json.loads((checkpoint / "state.json").read_text())["step"] == FAST.steps


def test_channels_last_weights_survive_a_checkpoint(accelerator, tmp_path):
    def build():
        torch.manual_seed(0)
        return nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)

    def loss(module, batch):
        if crash and batch.step == 5:
            raise Crash
        images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(batch.step))
        return module(images.to(memory_format=torch.channels_last)).pow(2).mean()

    whole, fresh = build(), build()
    options = {"loss": loss, "sampler": shuffled_batches(9, 4, "a"), "name": "conv"}
    crash = False
    train(accelerator, FAST, module=whole, folder=tmp_path / "whole", **options)
    crash = True
    with pytest.raises(Crash):
        train(accelerator, FAST, module=build(), folder=tmp_path / "cut", **options)
    crash = False
    train(accelerator, FAST, module=fresh, folder=tmp_path / "cut", **options)
    assert same(whole, fresh)
    assert fresh.weight.is_contiguous(memory_format=torch.channels_last)


def test_bf16_keeps_weights_in_float32_and_gives_the_module_back(accelerator, tmp_path):
    from accelerate.state import AcceleratorState, PartialState

    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        module = Toy()
        log = run_toy(Accelerator(cpu=True, mixed_precision="bf16"), FAST, tmp_path / "bf16", module)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        PartialState(cpu=True)
    full = run_toy(Accelerator(cpu=True), FAST, tmp_path / "full", Toy())
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert module(table()[0]).dtype == torch.float32
    assert [row["loss"] for row in log] == pytest.approx([row["loss"] for row in full], rel=0.05)
    assert log != full


def test_weights_in_half_precision_are_refused(accelerator, tmp_path):
    with pytest.raises(TrainingError, match=r"bfloat16.*float32"):
        run_toy(accelerator, FAST, tmp_path, Toy().to(torch.bfloat16))
    with pytest.raises(TrainingError, match="no parameter"):
        run_toy(accelerator, FAST, tmp_path, Toy().requires_grad_(False))


def test_batch_norm_on_one_row_at_a_time_is_refused(accelerator, tmp_path):
    module = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    one = replace(FAST, batch_size=1)
    with pytest.raises(ConfigError, match=r"batch_size is 1 .* has batch norm"):
        run_toy(accelerator, one, tmp_path, module)
    with pytest.raises(ConfigError, match=r"batch_size is 1 .* has batch norm"):
        run_toy(accelerator, replace(one, batch_size=4, global_batch_size=1), tmp_path, module)
    assert not any(tmp_path.iterdir())


def test_a_sampler_must_fill_the_global_batch(accelerator, tmp_path):
    for count in (0, 12):  # fewer, or a few more, are the end of an epoch; as many again are added rows
        with pytest.raises(TrainingError, match=f"gave {count} rows: a step takes 4"):
            run_toy(accelerator, FAST, tmp_path, Toy(), sampler=lambda step, rows=count: np.arange(rows))


def test_learning_rate_scales_with_the_global_batch(accelerator, tmp_path):
    config = LoopConfig(
        steps=1, batch_size=4, gradient_accumulation_steps=4, learning_rate=5e-4, scale_lr=True
    )
    assert run_toy(accelerator, config, tmp_path, Toy())[0]["learning_rate"] == pytest.approx(8e-3)


class MemoryTracker(GeneralTracker):
    name = "memory"
    requires_logging_directory = False

    def __init__(self):
        super().__init__()
        self.rows: list[tuple[int, dict]] = []

    @property
    def tracker(self):
        return self.rows

    def store_init_configuration(self, values):
        pass

    def log(self, values, step=None, **_):
        self.rows.append((step, values))


def test_trackers_see_every_step(tmp_path):
    tracker = MemoryTracker()
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("project")
    log = run_toy(accelerator, FAST, tmp_path, Toy(), validate=lambda module: {"score": 1.0})
    losses = [(step, row["toy/loss"]) for step, row in tracker.rows if "toy/loss" in row]
    assert losses == [(row["step"], row["loss"]) for row in log]
    assert (FAST.steps, {"toy/score": 1.0}) in tracker.rows


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1.0] * 6),
        ("linear", [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("cosine", [(1 + math.cos(math.pi * k / 6)) / 2 for k in range(6)]),
        ("step_third", [1, 1, 0.1, 0.1, 0.01, 0.01]),
    ],
)
def test_schedules(schedule, expected):
    assert [learning_rate_factor(schedule, step, 6) for step in range(6)] == pytest.approx(expected)


def test_warm_up_comes_before_the_schedule():
    factors = [learning_rate_factor("linear", step, 8, warmup_steps=4) for step in range(8)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25])


def test_step_third_is_step_lr_every_third_of_the_epochs():
    epochs, per_epoch = 30, 7
    optimiser = torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.StepLR(optimiser, epochs // 3, 0.1)
    for epoch in range(epochs):
        for step in range(epoch * per_epoch, (epoch + 1) * per_epoch):
            factor = learning_rate_factor("step_third", step, epochs * per_epoch)
            assert factor == pytest.approx(reference.get_last_lr()[0])
        optimiser.step()
        reference.step()


def test_a_lead_is_step_lr_moved_before_every_epoch(accelerator, tmp_path):
    # As the code of Wang et al. does: scheduler.step() opens each epoch, the first one too.
    epochs, per_epoch = 6, 2
    optimiser = torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=1e-2)
    reference = torch.optim.lr_scheduler.StepLR(optimiser, epochs // 3, 0.1)
    expected = []
    for _ in range(epochs):
        optimiser.step()
        reference.step()
        expected += [reference.get_last_lr()[0]] * per_epoch
    config = LoopConfig(
        steps=epochs * per_epoch, learning_rate=1e-2, lr_schedule="step_third", schedule_lead=per_epoch
    )
    rates = [row["learning_rate"] for row in run_toy(accelerator, config, tmp_path, Toy())]
    assert rates == pytest.approx(expected)
    assert rates[:3] == pytest.approx([1e-2, 1e-2, 1e-3])


@pytest.mark.parametrize(
    ("processes", "shape"), [(1, (4, 4)), (2, (4, 2)), (4, (4, 1)), (8, (2, 1)), (16, (1, 1))]
)
def test_a_global_batch_is_the_same_for_any_number_of_processes(processes, shape):
    config = LoopConfig(batch_size=4, global_batch_size=16, learning_rate=5e-4, scale_lr=True)
    shared = config.shared_by(processes)
    assert (shared.batch_size, shared.gradient_accumulation_steps) == shape
    assert shared.global_batch(processes) == shape[0] * shape[1] * processes == 16
    assert shared.peak_learning_rate(processes) == pytest.approx(8e-3)
    assert shared.fingerprint(processes) == config.shared_by(1).fingerprint(1)


def test_a_global_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ConfigError, match="which 3 processes cannot share evenly: launch one of 1, 2, 4"):
        LoopConfig(global_batch_size=4).shared_by(3)
    with pytest.raises(ConfigError, match="says it too: leave one of them out"):
        LoopConfig(global_batch_size=4, gradient_accumulation_steps=2).validate()
    assert LoopConfig().shared_by(3) == LoopConfig()


def test_a_global_batch_is_what_a_step_takes(accelerator, tmp_path):
    toys = Toy(dropout=0.0), Toy(dropout=0.0)
    whole = run_toy(accelerator, FAST, tmp_path / "whole", toys[0])
    config = replace(FAST, batch_size=3, global_batch_size=4)  # two micro-steps of two rows
    parts = run_toy(accelerator, config, tmp_path / "parts", toys[1])
    assert [row["loss"] for row in parts] == pytest.approx([row["loss"] for row in whole], rel=1e-4)


class Process:
    """One of several, as far as cutting a batch goes."""

    def __init__(self, count: int, index: int) -> None:
        self.num_processes, self.process_index = count, index


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 1), (1, 4), (2, 2), (4, 1), (8, 1)])
@pytest.mark.parametrize("count", [1, 3, 5, 8, 9])
def test_the_last_batch_of_an_epoch_is_shared_by_all(processes, accumulation, count):
    size = 8 // (processes * accumulation)
    config = LoopConfig(batch_size=max(size, 1), gradient_accumulation_steps=accumulation)
    parts = [
        part
        for index in range(processes)
        for part in micro_batches(
            Process(processes, index), config, lambda step: np.arange(100, 100 + count), 0, "toy"
        )
    ]
    assert len(parts) == processes * accumulation
    assert np.mean([part.weight for part in parts]) == pytest.approx(1)
    seen = np.concatenate([part.positions.numpy() for part in parts if part.weight])
    assert sorted(seen) == list(range(count))
    assert all((part.indices == part.positions + 100).all() for part in parts)
    assert all(len(part.indices) for part in parts)  # none stays away: the others would wait for it
    mean = sum(part.weight * part.positions.double().mean() for part in parts) / len(parts)
    assert mean == pytest.approx((count - 1) / 2)  # of means, weighted: the mean over all rows


def test_a_short_batch_moves_weights_as_the_mean_over_its_rows(accelerator, tmp_path):
    sizes = epoch_sizes(ROWS, 4)
    assert sizes[-1] == 1
    logs = []
    for batch_size, accumulation in ((4, 1), (1, 4)):
        config = replace(
            FAST, batch_size=batch_size, gradient_accumulation_steps=accumulation, steps=2 * len(sizes)
        )
        folder = tmp_path / str(batch_size)
        toy, batches = Toy(dropout=0.0), epoch_batches(sizes, "toy", 0)
        logs.append([row["loss"] for row in run_toy(accelerator, config, folder, toy, sampler=batches)])
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-5)


def test_passes_are_whole():
    assert epoch_sizes(10, 4) == [4, 4, 2]
    assert epoch_sizes(9, 4, least=2) == [4, 5]
    assert epoch_sizes(9, 4) == [4, 4, 1]
    assert epoch_sizes(1, 4, least=2) == [1]
    assert epoch_sizes(8, 4, least=2) == [4, 4]
    sampler = epoch_batches([4, 4, 2], "key")
    passes = [np.concatenate([sampler(3 * epoch + step) for step in range(3)]) for epoch in range(2)]
    assert [sorted(rows) for rows in passes] == [list(range(10))] * 2
    assert not np.array_equal(passes[0], passes[1])
    drawn = epoch_batches([400, 200], "key", weights=np.array([1.0, 0.0, 3.0]))
    counts = np.bincount(np.concatenate([drawn(0), drawn(1)]), minlength=3)
    assert counts.sum() == 600
    assert (counts[1], counts[2] / counts[0]) == (0, pytest.approx(3, rel=0.3))


def test_shuffled_batches_see_every_row_equally_often():
    sampler = shuffled_batches(ROWS, 8, "key")
    rows = np.concatenate([sampler(step) for step in range(ROWS)])  # eight epochs
    assert np.array_equal(np.bincount(rows, minlength=ROWS), np.full(ROWS, 8))
    assert len(set(rows[:ROWS])) == ROWS
    assert not np.array_equal(rows[:ROWS], rows[ROWS : 2 * ROWS])
    assert np.array_equal(shuffled_batches(ROWS, 4, "key")(1), sampler(0)[4:])
    assert len(shuffled_batches(3, 8, "key")(0)) == 8  # a batch longer than the table


def test_weighted_batches_follow_the_weights():
    sampler = weighted_batches(np.array([1.0, 0.0, 3.0]), 1000, "key")
    counts = np.bincount(sampler(0), minlength=3)
    assert counts[1] == 0
    assert counts[2] / counts[0] == pytest.approx(3, rel=0.25)
    assert np.array_equal(sampler(0), weighted_batches(np.array([2.0, 0.0, 6.0]), 1000, "key")(0))
    assert not np.array_equal(sampler(0), sampler(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, r"loop\.steps is 0: set it to at least 1"),
        ({"batch_size": -1}, r"loop\.batch_size"),
        ({"learning_rate": 0.0}, r"loop\.learning_rate"),
        ({"learning_rate": math.nan}, r"loop\.learning_rate"),
        ({"warmup_steps": 13}, r"loop\.warmup_steps is 13.*steps=12"),
        ({"ema_decay": 1.0}, r"loop\.ema_decay"),
        ({"global_batch_size": 0}, r"loop\.global_batch_size is 0"),
        ({"schedule_lead": 2, "lr_schedule": "constant"}, r"loop\.schedule_lead is 2"),
        ({"max_grad_norm": -1.0}, r"loop\.max_grad_norm"),
    ],
)
def test_settings_that_cannot_work_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(FAST, **change).validate("loop.")
