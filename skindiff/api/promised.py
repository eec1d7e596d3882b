"""Synthetic images of a study that are made when they are needed, and not where all they say is recorded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from skindiff.api.synthesis import SyntheticDataset
from skindiff.api.synthetic_input import Judged, OfSplit, all_judged
from skindiff.classification.experiment import Experiment
from skindiff.classification.recorded_cells import fingerprint
from skindiff.study import Study
from skindiff.synthesis.strategies import Unmade


@dataclass(frozen=True)
class Promised:
    """What trains a generator on a split and generates with it.

    Attributes:
        strategy: how the images are made, as the report calls it.
        made_with: all settings that decide them, but for the corpus, the split and the seed.
        make: does it.
        name: of the generator in a report of several; None leaves it as it is.
    """

    strategy: str
    made_with: Mapping[str, Any]
    make: Callable[[], SyntheticDataset]
    name: str | None = None

    def made(self, study: Study, asked: Callable[[str], Sequence[Experiment]]) -> SyntheticDataset | Unmade:
        """Return the images, or what stands for them if all that is asked of them is recorded.

        Args:
            study: of the split.
            asked: returns the experiments on images of a label; where they train nothing, no image is made.
        """
        trained = study.train["image_id"][:]
        known = {"strategy": self.strategy, "seed": study.seed, "train": trained}
        digest = fingerprint({**self.made_with, **known})
        name = self.name or self.strategy
        unmade = Unmade(self.strategy, name, digest, named=self.name is not None)
        experiments = asked(unmade.label)
        if all(one.recorded.alone or one.holds(unmade) for one in experiments):
            return unmade
        images = self.make().named(self.name)
        return replace(images, drawn=replace(images.drawn, made_with=digest))


def prepared(
    study: Study,
    sets: Sequence[OfSplit | Promised],
    asked: Callable[[str], Sequence[Experiment]],
    *,
    allow_taught: bool,
) -> list[Judged | Unmade]:
    """Make the synthetic images of a split, as far as they are needed, and take them in.

    Args:
        study: what is trained and tested on.
        sets: promised or made.
        asked: returns the experiments on those of a label.
        allow_taught: see :func:`~skindiff.api.synthetic_input.judged`.

    Raises:
        ConfigError, SplitError, SynthesisError: a set cannot be used.
    """
    made = [one.made(study, asked) if isinstance(one, Promised) else one for one in sets]
    ready = [one for one in made if not isinstance(one, Unmade)]
    judged = iter(all_judged(study, ready, several=len(made) > 1, allow_taught=allow_taught))
    return [one if isinstance(one, Unmade) else next(judged) for one in made]
