"""Starting a recipe: threads, trackers and logging, the same with and without ``accelerate launch``."""

import logging
import os
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration
from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from skindiff.errors import ConfigError
from skindiff.escaping import visible

QUIET = ("httpx", "huggingface_hub", "datasets", "fsspec", "timm")
"""Libraries that log too much at our level."""


def _without_rank(record: logging.LogRecord) -> bool:
    """Take the rank away that Accelerate's logger puts before what the main process alone says."""
    record.msg = str(record.msg).removeprefix("[RANK 0] ")
    return True


class _Visible(logging.Formatter):
    """Spells control characters out that a line carries in names."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put threads, random state, logging, warnings and progress bars back as they were, after the block.

    Raises:
        ConfigError: Accelerate was started in this process in another precision, which cannot be changed.
    """
    wanted = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if AcceleratorState._shared_state and (found := AcceleratorState().mixed_precision) != wanted:
        raise ConfigError(
            f"mixed_precision: Accelerate runs in {found} in this process, and so would this call: restart "
            "the kernel, or call skindiff first"
        )
    threads, bars = torch.get_num_threads(), not are_progress_bars_disabled()
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    loggers = [logging.getLogger(), *map(logging.getLogger, QUIET)]
    levels, handlers = [logger.level for logger in loggers], logging.getLogger().handlers[:]
    with warnings.catch_warnings():
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_rng_state(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            random.setstate(states[2])
            if on_gpu is not None:
                torch.cuda.set_rng_state_all(on_gpu)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            logging.getLogger().handlers[:] = handlers
            (enable_progress_bars if bars else disable_progress_bars)()


def usual_threads() -> int:
    """Return how many CPU threads a process has unless a setting says otherwise: its share of the cores."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // local)


def start_accelerator(
    threads: int | None = None, trackers: Sequence[str] = (), output_dir: str | Path = "."
) -> Accelerator:
    """Return the accelerator of a recipe and set up threads and logging for this process.

    ``accelerate launch`` gives each CPU process one thread; here the cores are shared among the processes of
    this machine, unless ``threads`` says otherwise.

    Args:
        threads: CPU threads of this process; None shares the cores.
        trackers: names of Accelerate's trackers.
        output_dir: trackers log to ``<output_dir>/logs``.

    Raises:
        ConfigError: ``threads`` is below 1, a tracker is not installed, or mixed precision is fp16 on a CPU.
    """
    if threads is not None and threads < 1:
        raise ConfigError(
            f"threads: {threads} is below 1; give a number of CPU threads, or null to share the cores"
        )
    torch.set_num_threads(threads or usual_threads())
    console = logging.StreamHandler()
    console.addFilter(_without_rank)
    console.setFormatter(_Visible("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[console])
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning)
    disable_progress_bars()
    on_cpu = not torch.cuda.is_available() and not torch.backends.mps.is_available()
    if on_cpu and os.environ.get("ACCELERATE_MIXED_PRECISION") == "fp16":
        raise ConfigError(
            "mixed_precision: fp16 needs a GPU, and there is none here; launch with bf16, or no"
        )
    try:
        accelerator = Accelerator(
            # Without saying so, processes that were launched as multi-GPU would each believe to be alone.
            cpu=on_cpu,
            log_with=list(trackers) or None,
            project_config=ProjectConfiguration(str(output_dir), logging_dir=str(Path(output_dir) / "logs")),
        )
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"trackers: {list(trackers)} cannot be started ({error}); install them or leave them out"
        ) from error
    # Accelerate passes over a tracker that is not installed.
    started = {str(kind) for kind in accelerator.log_with}
    missing = [name for name in dict.fromkeys(trackers) if name not in (*started, "all")]
    if missing:
        raise ConfigError(
            f"trackers: {', '.join(missing)} is not installed, so nothing would be logged; install it "
            f"(pip install {' '.join(missing)}) or leave it out"
        )
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != launched:
        raise ConfigError(
            f"num_processes: {launched} were launched but {accelerator.num_processes} work together; "
            "start with one of accelerate_configs/"
        )
    return accelerator
