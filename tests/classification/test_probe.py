"""Linear probes: the same problem has one answer, and nothing of a left-out group chooses its strength."""

from dataclasses import replace

import numpy as np
import pytest

from skindiff.classification import probe
from skindiff.classification.cells import is_probe
from skindiff.classification.probe import ProbeConfig, ProbeRows, _balanced, check_probe, fit_probe
from skindiff.classification.synthetic_use import downweighted
from skindiff.errors import ConfigError, TrainingError

CONFIG = ProbeConfig(strengths=[0.01, 0.1, 1.0])


def make_rows(
    classes: int = 3, groups: int = 6, views: int = 1, width: int = 8, spread: float = 1.0
) -> ProbeRows:
    """Two images of each group, the class on one feature, in an order of no meaning."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), 2 * groups)
    features = spread * rng.normal(size=(len(labels), views, width))
    features[np.arange(len(labels)), :, labels] += 2.0
    names = [f"{label}-{number // 2}" for label in range(classes) for number in range(2 * groups)]
    order = rng.permutation(len(labels))
    ones = np.ones(len(labels))
    return ProbeRows(
        features[order].astype(np.float32),
        labels[order],
        [names[row] for row in order],
        ones,
        ones,
        len(ones),
    )


def repeated(rows: ProbeRows, times: int, judging: bool = False) -> ProbeRows:
    """Every row some more times, as real+duplicates has them."""
    return replace(
        rows,
        features=np.concatenate([rows.features] * times),
        labels=np.concatenate([rows.labels] * times),
        groups=list(rows.groups) * times,
        weights=np.concatenate([rows.weights] * times),
        judges=np.concatenate([rows.judges, *[rows.judges * judging] * (times - 1)]),
    )


def test_the_same_rows_give_the_same_probe() -> None:
    rows = make_rows()
    one, two = (fit_probe(CONFIG, rows, 3, 0) for _ in range(2))
    assert np.array_equal(one.weight, two.weight)
    assert (one.strength, one.losses) == (two.strength, two.losses)
    assert (one.predict(rows.features[:, 0]).argmax(1) == rows.labels).mean() > 0.8
    assert one.predict(rows.features[:, 0]).sum(1) == pytest.approx(1)


@pytest.mark.parametrize("balance", ["class", "none"])
@pytest.mark.parametrize("width", [8, 64])  # more rows than features, and fewer
def test_a_repeat_of_every_image_changes_nothing(balance: str, width: int) -> None:
    rows, config = make_rows(width=width), replace(CONFIG, balance=balance)
    plain = fit_probe(config, rows, 3, 0)
    for times in (2, 3):
        again = fit_probe(config, repeated(rows, times), 3, 0)
        assert again.strength == plain.strength
        assert again.predict(rows.features[:, 0]) == pytest.approx(
            plain.predict(rows.features[:, 0]), abs=1e-6
        )


def test_fewer_rows_than_features_give_the_probe_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    rows = make_rows(width=64)
    found = fit_probe(replace(CONFIG, strengths=[0.1]), rows, 3, 0)
    flat = rows.features[:, 0].astype(np.float64)
    flat = (flat - flat.mean(0)) / np.sqrt(flat.var(0).mean())
    model = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(flat, rows.labels)
    assert found.predict(rows.features[:, 0]) == pytest.approx(model.predict_proba(flat), abs=1e-3)
    assert found.losses == {}


def test_classes_weigh_as_much_whatever_their_number() -> None:
    rows = make_rows(classes=2, groups=20, spread=2.0)
    first = rows.labels == 0
    scarce = np.flatnonzero(~first | (np.cumsum(first) <= 4))
    few = replace(
        rows,
        features=rows.features[scarce],
        labels=rows.labels[scarce],
        groups=[rows.groups[row] for row in scarce],
        weights=rows.weights[scarce],
        judges=rows.judges[scarce],
        exposure=float(len(scarce)),
    )
    shares = {
        balance: fit_probe(ProbeConfig(balance=balance, strengths=[0.01]), few, 2, 0)
        .predict(rows.features[:, 0])[:, 0]
        .mean()
        for balance in ("class", "none")
    }
    assert shares["none"] < 0.25 < shares["class"]


def test_equal_exposure_leaves_the_real_rows_their_weight() -> None:
    rows, count = make_rows(classes=2, groups=20, spread=2.0), 0
    added = np.flatnonzero(rows.labels == 1)[:6]  # of one class alone: the balance of real rows stays
    together = ProbeRows(
        np.concatenate([rows.features, rows.features[added] + 1]),
        np.concatenate([rows.labels, rows.labels[added]]),
        [*rows.groups, *(rows.groups[row] for row in added)],
        np.ones(len(rows.labels) + len(added)),
        np.concatenate([rows.judges, np.zeros(len(added))]),
        rows.exposure,
        part=np.repeat([0, 1], [len(rows.labels), len(added)]),
    )
    count = len(rows.labels)
    for balance in ("class", "none"):
        config = ProbeConfig(balance=balance)
        alone = probe._balanced(config, rows.labels, rows.weights, rows.exposure)
        merged = together.merged()
        weights = probe._balanced(config, merged.labels, merged.weights, merged.exposure, merged.part)
        assert np.array_equal(weights[:count], alone)
        assert weights[count:].sum() == pytest.approx(rows.exposure)
    assert not np.allclose(
        fit_probe(CONFIG, together, 2, 0).weight, fit_probe(CONFIG, replace(together, part=None), 2, 0).weight
    )


def test_two_classes_and_a_class_without_images() -> None:
    rows = make_rows(classes=2)
    found = fit_probe(CONFIG, rows, 3, 0)
    predicted = found.predict(rows.features[:, 0])
    assert predicted[:, 2].max() == 0
    assert predicted.sum(1) == pytest.approx(1)
    assert np.array_equal(fit_probe(CONFIG, rows, 2, 0).predict(rows.features[:, 0]), predicted[:, :2])
    swapped = fit_probe(CONFIG, replace(rows, labels=1 - rows.labels), 2, 0).predict(rows.features[:, 0])
    assert swapped[:, ::-1] == pytest.approx(predicted[:, :2], abs=1e-3)
    with pytest.raises(TrainingError, match="all training images are of one class"):
        fit_probe(CONFIG, replace(rows, labels=rows.labels * 0), 2, 0)


def test_strengths_are_judged_by_groups_that_were_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, seen = make_rows(), []
    split = probe.StratifiedGroupKFold.split

    def noted(self: object, *arguments: object) -> object:
        parts = list(split(self, *arguments))
        seen.extend(parts)
        return parts

    monkeypatch.setattr(probe.StratifiedGroupKFold, "split", noted)
    found = fit_probe(CONFIG, rows, 3, 0)
    assert len(seen) == CONFIG.folds
    groups = np.asarray(rows.groups)
    for kept, left in seen:
        assert not set(groups[kept]) & set(groups[left])
    assert set(found.losses) <= set(CONFIG.strengths)
    assert found.strength == min(found.losses, key=lambda one: found.losses[one])


def test_only_judges_choose_and_an_image_of_a_source_goes_with_it() -> None:
    # Synthetic rows say nothing and repeat the noise of their source: to them no penalty is best.
    rows = make_rows(spread=3.0)
    noise = replace(rows, labels=np.random.default_rng(1).permutation(rows.labels), judges=rows.judges * 0)
    both = replace(
        rows,
        features=np.concatenate([rows.features, noise.features]),
        labels=np.concatenate([rows.labels, noise.labels]),
        groups=[*rows.groups, *noise.groups],
        weights=np.ones(2 * len(rows.labels)),
        judges=np.concatenate([rows.judges, noise.judges]),
    )
    relabelled = replace(both, judges=1 - both.judges)
    assert fit_probe(CONFIG, both, 3, 0).losses != fit_probe(CONFIG, relabelled, 3, 0).losses


def test_few_groups_leave_no_choice_or_a_smaller_one() -> None:
    rows = make_rows(groups=1)
    assert fit_probe(CONFIG, rows, 3, 0).losses
    alone = replace(rows, groups=["one"] * len(rows.labels))
    found = fit_probe(CONFIG, alone, 3, 0)
    assert (found.losses, found.strength) == ({}, 0.1)


def test_a_feature_that_hardly_varied_in_training_is_not_blown_up() -> None:
    rows = make_rows()
    features = np.concatenate(
        [rows.features, np.full((*rows.features.shape[:2], 1), 0.001, np.float32)], axis=2
    )
    features[0, 0, -1] = 0.002
    found = fit_probe(CONFIG, replace(rows, features=features), 3, 0)
    elsewhere = features[:, 0].copy()
    elsewhere[:, -1] = 3.0
    assert (found.predict(elsewhere).argmax(1) == found.predict(features[:, 0]).argmax(1)).all()


def test_views_share_the_weight_of_their_image() -> None:
    one = make_rows()
    both = replace(one, features=np.repeat(one.features, 2, axis=1))
    expected = fit_probe(CONFIG, one, 3, 0)
    found = fit_probe(CONFIG, both, 3, 0)
    assert found.strength == expected.strength
    assert found.predict(one.features[:, 0]) == pytest.approx(expected.predict(one.features[:, 0]), abs=1e-3)


@pytest.mark.parametrize(
    ("architecture", "change", "message"),
    [
        ("probe:lite1", {}, r"x\.architectures: timm knows no 'lite1'"),
        ("probe:no/where", {}, r"x\.architectures: 'no/where' is no backbone"),
        ("probe:lite0", {"image_size": 8}, r"x\.probe\.image_size: 8 is outside 32 to 1024"),
        ("probe:lite0", {"views": 0}, r"x\.probe\.views: 0 is outside 1 to 64; for none set augment"),
        ("probe:lite0", {"strengths": []}, r"x\.probe\.strengths: \[\] must name at least one"),
        ("probe:lite0", {"folds": 1}, r"x\.probe\.folds: 1 is outside 2 to 20"),
        ("probe:lite0", {"balance": "oversample"}, r"x\.probe\.balance: 'oversample' is unknown"),
    ],
)
def test_what_cannot_work_is_named(architecture: str, change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_probe(architecture, replace(ProbeConfig(), **change), "x.")


def test_a_probe_is_known_by_its_name() -> None:
    assert is_probe("probe:lite0")
    assert not is_probe("resnet18")
    for name in ("probe:bundled", "probe:resnet18.a1_in1k", "probe:hf-hub:owner/name"):
        check_probe(name, ProbeConfig())


def weighed(labels: np.ndarray, real: int, share: float) -> np.ndarray:
    """What rows weigh where classes are balanced."""
    return downweighted(1.0 / np.bincount(labels)[labels], labels, real, share)


def test_a_share_that_no_weight_gives_is_refused() -> None:
    labels = np.array([0, 1, 2, 0, 0])  # synthetic images of one class of three
    assert weighed(labels, 3, 0.3)[-1] > 1
    for share in (0.4, 1 / 3):
        with pytest.raises(
            ConfigError, match=r"synthetic_share: 0\.[43].* take more than .* and less than 0\.33"
        ):
            weighed(labels, 3, share)


def test_rows_of_no_weight_change_nothing() -> None:
    rng = np.random.default_rng(0)
    labels, centres = rng.integers(0, 5, 90), rng.normal(size=(5, 300)) * 0.2
    features = (rng.normal(size=(90, 300)) + centres[labels]).astype(np.float32)[:, None]
    added = (rng.normal(size=(140, 300)) + 1).astype(np.float32)[:, None]
    groups, sources = [f"g{row // 2}" for row in range(90)], [f"g{row % 45}" for row in range(140)]
    alone = ProbeRows(features, labels, groups, np.ones(90), np.ones(90), 90.0)
    every = np.concatenate([labels, rng.choice(5, 140, p=[0.6, 0.2, 0.1, 0.1, 0])])
    both = ProbeRows(
        np.concatenate([features, added]),
        every,
        groups + sources,
        weighed(every, 90, 0.0),
        np.repeat([1.0, 0.0], [90, 140]),
        90.0,
    )
    real, joint = (fit_probe(ProbeConfig(), rows, 5, 0) for rows in (alone, both))
    assert joint.strength == real.strength
    assert np.abs(joint.weight - real.weight).max() < 1e-6
    assert np.abs(joint.bias - real.bias).max() < 1e-6
    some = replace(both, weights=weighed(every, 90, 0.2))
    balanced = _balanced(ProbeConfig(), every, some.weights, 90.0)
    assert balanced[90:].sum() / balanced.sum() == pytest.approx(0.2)
    assert np.bincount(every, balanced) == pytest.approx(18)
    assert np.abs(fit_probe(ProbeConfig(), some, 5, 0).weight - real.weight).max() > 1e-3
