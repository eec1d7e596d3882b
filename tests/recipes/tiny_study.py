"""The recipe fitz_lora made tiny, and a program that is killed in the middle of it, again and again.

``python -m tests.recipes.tiny_study CONFIG MOMENT...`` runs the study of a config file in a process that is
killed at the first moment, goes on in another one that is killed at the next, and at last to the end. A
moment is ``STAGE:NUMBER``: the step of a training, or the shard of a synthesis, that it does not finish.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from recipes.fitz_lora import FitzLoraConfig, main
from skindiff.classification import fine_tuning
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.fine_tuning import ClassifierConfig
from skindiff.config import parse_config
from skindiff.corpora.phantom import PhantomConfig
from skindiff.corpora.registry import CorpusConfig
from skindiff.corpora.splits import SplitConfig
from skindiff.synthesis.config import SynthesisConfig
from skindiff.synthesis.strategies import GeneratorConfig
from skindiff.training.denoising_task import DenoisingTask
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig
from skindiff.training.textual_inversion import TextualInversionConfig

SMOKE = Path(__file__).parents[2] / "recipes" / "fitz_lora" / "smoke.yaml"
"""Beside it files are the recipe's own; the config file is the user's."""

MOMENTS = ("textual_inversion:3", "lora:3", "synthesis:1", "classifier:3")


def tiny_study(output_dir: Path, model: Path, **changes: Any) -> FitzLoraConfig:
    """Two phantom classes at 32 px, the pipeline of tests/tiny.py, four steps of everything, five arms."""

    def loop(**settings: Any) -> LoopConfig:
        return LoopConfig(steps=4, batch_size=4, learning_rate=0.01, checkpoint_every=2, **settings)

    settings: dict[str, Any] = {
        "threads": 1,
        "corpus": CorpusConfig(
            image_size=32,
            phantom=PhantomConfig(
                seed=3, classes=["nodule", "ring"], images_per_class={"I": 4, "II": 4, "V": 3, "VI": 3}
            ),
        ),
        "split": SplitConfig(flexible_per_condition=2, validation_fraction=0.2),
        "split_seeds": [0],
        "generator": GeneratorConfig(
            model=str(model),
            textual_inversion=TextualInversionConfig(
                loop=loop(max_grad_norm=0.0), steps_per_condition=False, validation_examples=4
            ),
            lora=LoRAConfig(loop=loop(seed=7), rank=2, alpha=2.0, prompt_dropout=0.1, validation_examples=4),
        ),
        "synthesis": SynthesisConfig(images_per_source=1, steps=4, batch_size=4, rows_per_shard=4),
        "experiment": ExperimentConfig(
            architectures=["test_resnet"],
            classifier=ClassifierConfig(image_size=32, loop=loop(validate_every=2)),
            bootstrap_replicates=100,
        ),
    }
    return FitzLoraConfig(str(output_dir), **{**settings, **changes})


def stage_files(folder: Path | str) -> dict[str, Path]:
    """Every file of a run's stages, by its path in the run's folder."""
    return {str(path.relative_to(folder)): path for path in sorted(Path(folder, "stages").rglob("*.*"))}


def reported(folder: str) -> dict[str, Any]:
    """What a report says, without when, where and how it was made."""
    report: dict[str, Any] = json.loads((Path(folder) / "report.json").read_text())
    for name in ("timings", "environment"):
        del report[name]
    for name in ("output_dir", "resume", "overwrite"):
        report["config"].pop(name, None)
    return report


def kill_at(stage: str, number: int) -> None:
    """Let this process die by SIGKILL when it comes to that step or shard of that stage."""
    if stage == "synthesis":
        replace = os.replace

        def replace_or_die(partial: Any, path: Any, **arguments: Any) -> None:
            if Path(path).name.startswith(f"synthetic-{number:05d}-"):
                os.kill(os.getpid(), signal.SIGKILL)
            replace(partial, path, **arguments)

        os.replace = replace_or_die
        return
    loss, classification_loss = DenoisingTask.loss, fine_tuning._classification_loss

    def loss_or_die(self: DenoisingTask, module: Any, batch: Any) -> Any:
        if (self.name, batch.step) == (stage, number):
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(self, module, batch)

    def classification_loss_or_die(*arguments: Any) -> Any:
        inner = classification_loss(*arguments)

        def outer(module: Any, batch: Any) -> Any:
            if ("classifier", batch.step) == (stage, number):
                os.kill(os.getpid(), signal.SIGKILL)
            return inner(module, batch)

        return outer

    DenoisingTask.loss = loss_or_die
    fine_tuning._classification_loss = classification_loss_or_die


def run_killed(config_file: str, moments: list[str]) -> None:
    # Children of one process that has imported everything: starting Python takes longer than the study.
    for moment in moments:
        stage, number = moment.split(":")
        child = os.fork()
        if child == 0:
            try:
                kill_at(stage, int(number))
                main(parse_config(FitzLoraConfig, ["--config", config_file], default=SMOKE))
            finally:
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(f"not killed at {moment}: status {status}")
    main(parse_config(FitzLoraConfig, ["--config", config_file], default=SMOKE))


if __name__ == "__main__":
    run_killed(sys.argv[1], sys.argv[2:])
