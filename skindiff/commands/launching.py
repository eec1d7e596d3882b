"""Work in this process, or in several by ``accelerate launch`` with the configs in accelerate_configs/."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from skindiff.commands.signals import INTERRUPTED, TERMINATED, Terminated, status_of
from skindiff.errors import ConfigError

IN_PROCESS = "SKINDIFF_IN_PROCESS"
"""Set in the processes that a launch has started."""
PACKAGE = Path(__file__).parents[1]
_LAUNCH_WORDS = (
    "--config_file",
    "--num_processes",
    "--num_machines",
    "--machine_rank",
    "--main_process_ip",
    "--main_process_port",
    "--mixed_precision",
    "--gpu_ids",
)
"""Arguments of ``accelerate launch`` that commands pass on, each with a value."""


def launched(
    command: str,
    words: Sequence[str],
    work: Callable[[list[str]], int],
    settings: Callable[[list[str]], object],
) -> int:
    """Do a command's work, in processes of ``accelerate launch`` where they are asked for or GPUs are there.

    Args:
        command: its name, for the processes that are started.
        words: of the user; ``--accelerate_config`` (a file, or a name such as ``multi_gpu``) and the
            arguments of ``accelerate launch`` are taken out of them.
        work: the command in this process.
        settings: reads the words, so that a wrong one is said once, before several processes start.

    Returns:
        The exit status: 0, 2 for an error that the user can mend, 1 for any other.
    """
    if os.environ.get(IN_PROCESS) or {"-h", "--help"} & set(words):
        return work(list(words))
    launch_words, rest = split_launch_words(words)
    launch_words = launch_words or default_launch()
    if not launch_words:
        return work(rest)
    settings(rest)
    return launch([*launch_words, "--module", "skindiff.commands", command, *rest])


def split_launch_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments of ``accelerate launch`` among ``words``, and the others.

    Raises:
        ConfigError: one has no value, or names no file.
    """
    ours: list[str] = []
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if name not in (*_LAUNCH_WORDS, "--accelerate_config"):
            rest.append(word)
            continue
        if not equals and not left:
            raise ConfigError(f"{name.lstrip('-')} has no value; give one, or leave it out")
        value = value if equals else left.pop(0)
        if name in ("--config_file", "--accelerate_config"):
            name, value = "--config_file", str(accelerate_config(value))
        ours += [name, value]
    return ours, rest


def accelerate_config(name: str) -> Path:
    """Return the file of an Accelerate config: a path, or a name in accelerate_configs/.

    Raises:
        ConfigError: there is none.
    """
    if Path(name).is_file():
        return Path(name)
    homes = [PACKAGE / "accelerate_configs", PACKAGE.parent / "accelerate_configs"]
    found = next((home / f"{name}.yaml" for home in homes if (home / f"{name}.yaml").is_file()), None)
    if found is None:
        known = sorted({path.stem for home in homes for path in home.glob("*.yaml")})
        raise ConfigError(f"accelerate_config: {name!r} is no file; give one, or one of {', '.join(known)}")
    return found


def default_launch() -> list[str]:
    """Return the arguments of a launch that was not asked for: none on a CPU, where this process will do."""
    from accelerate.commands.config.config_args import default_config_file

    if Path(default_config_file).is_file():
        return ["--config_file", str(default_config_file)]
    import torch

    gpus = torch.cuda.device_count()
    if gpus == 0:
        return []
    if gpus == 1:
        return ["--config_file", str(accelerate_config("single_gpu"))]
    return ["--config_file", str(accelerate_config("multi_gpu")), "--num_processes", str(gpus)]


def launch(words: Sequence[str]) -> int:
    """Call ``accelerate launch`` and return the exit status of what it started.

    Raises:
        ConfigError: Accelerate refuses the settings, or a process was killed.
    """
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    arguments = launch_command_parser().parse_args(list(words))
    try:
        launch_command(arguments)
    except subprocess.CalledProcessError as error:
        return _status(error.returncode)
    except ChildFailedError as error:
        return _status(error.get_first_failure()[1].exitcode)
    except SignalException as error:
        stopped = Terminated() if error.sigval == signal.SIGTERM else KeyboardInterrupt()
        return status_of(stopped, said=True)
    except (KeyboardInterrupt, Terminated) as ending:
        return status_of(ending, said=True)
    except ValueError as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"accelerate_config: {first}; see accelerate_configs/ for configs that work"
        ) from error
    return 0


def _status(code: int) -> int:
    if code < 0:
        raise ChildProcessError(f"killed by {signal.Signals(-code).name} (out of memory?); go on by --resume")
    return code if code in (0, 2, INTERRUPTED, TERMINATED) else 1
