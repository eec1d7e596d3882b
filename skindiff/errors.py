"""The errors that a user can mend; each message names the setting, its value and the way out in one line."""

_END = 300


class SkindiffError(Exception):
    """Base of every error that skindiff raises on purpose; recipes print it as one line and exit with 2.

    Args:
        message: what is wrong and the way out. Line breaks, half characters, and the middle of what is far
            too long come from names and values that others chose, and are left out.
    """

    longest = 1000
    """Characters of the message."""

    def __init__(self, message: object = "") -> None:
        text, most = " ".join(str(message).splitlines()).encode("utf-8", "replace").decode(), self.longest
        super().__init__(text if len(text) <= most else f"{text[: most - _END]}[...]{text[-_END:]}")


class ConfigError(SkindiffError):
    """A setting has a value that cannot work."""


class SettingsError(ConfigError):
    """Several settings have values that cannot work; the message numbers what is wrong with each."""

    longest = 10_000


class CorpusError(SkindiffError):
    """A corpus cannot be read, or does not hold what was asked of it."""


class SplitError(SkindiffError):
    """A split cannot be filled from the corpus at hand."""


class GeneratorError(SkindiffError):
    """A generator or an adapter cannot be loaded, saved or prompted as asked."""


class TrainingError(SkindiffError):
    """Training cannot start, resume or go on (a loss that is not finite, a foreign checkpoint)."""


class SynthesisError(SkindiffError):
    """Images cannot be generated or written."""


class RunFolderError(SkindiffError):
    """An output folder is in use, or holds a run that does not fit."""


class LaunchError(SkindiffError):
    """A process of the launch has died, or gives no sign of life, while others wait for it."""


class HubError(SkindiffError):
    """Something may not leave this machine as it is, or the Hub does not take or give it."""
