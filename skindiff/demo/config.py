"""Settings of the demo."""

from dataclasses import dataclass, field
from pathlib import Path

from skindiff.demo.hosts import ANY_HOST, Place, is_loopback
from skindiff.errors import ConfigError
from skindiff.generators.models import BUNDLED_LORA
from skindiff.wrong_settings import refuse

MEGABYTE = 2**20
_AT_LEAST_ONE = (
    "max_pixels",
    "max_images",
    "max_steps",
    "batch_size",
    "keep_generators",
    "tone_draws",
    "queue_size",
    "queue_per_session",
    "keep_minutes",
)


@dataclass
class DemoConfig:
    """Settings of the demo: what it offers, who may use it, and its limits."""

    generators: list[str] = field(default_factory=lambda: ["bundled", BUNDLED_LORA])
    """Generators to choose from, the first being shown first: bundled; bundled-lora, an adapter that phantom
    images have taught it; a folder of a pipeline, an adapter or a run of skindiff train; or the Hub id of a
    pipeline or an adapter, with @revision or without."""
    adapter_base: str | None = None
    """Base model of the adapters; null takes the one that each adapter names."""
    model_config: str | None = None
    """Settings of generators and base models in one file: the folder of a saved pipeline, or sd15,
    sd21-base, sd21 or sdxl; null takes what fits the file."""
    open_choice: bool = True
    """Let the visitor type any other folder or Hub id; only for a demo that none but this machine reaches."""
    conditions: list[str] = field(
        default_factory=lambda: ["brown spots", "red patch", "pale patch", "red lines", "smooth skin"]
    )
    """Conditions to choose for generators that take any words; the learnt words of an adapter and the
    classes of a from-scratch generator stand in their place."""
    runs: list[str] = field(default_factory=list)
    """Folders of finished runs whose reports are shown."""
    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback is reached from other machines."""
    allowed_hosts: list[str] = field(default_factory=lambda: ["localhost", "127.0.0.1", "[::1]"])
    """Names, with or without :PORT, that the demo answers to: a web page that reaches it by another name is
    refused. Add that of a tunnel, notebook or proxy, and on another host the names of this machine; there
    "*" answers to any name and any page."""
    port: int | None = 7860
    """Port to listen on, 1024 to 65535; null takes a free one."""
    login_file: str | None = None
    """File of NAME:PASSWORD lines; who opens the page must then log in. Null asks for no login."""
    open_browser: bool = False
    """Open the page in this machine's browser."""
    max_upload_mb: float = 8.0
    """Largest file that is taken, in megabytes (2^20 bytes, as browsers count)."""
    max_pixels: int = 24_000_000
    """Largest photograph that is decoded, in pixels."""
    max_images: int = 30
    """Most images of one request."""
    max_steps: int = 50
    """Most sampler steps of one request."""
    batch_size: int = 3
    """Images per forward pass of what is generated from words; cancelling waits for the pass at work. A
    photograph is transferred one image at a time."""
    tone_draws: int = 8
    """Images of each skin type that are generated to measure a generator's own colours, once, before the
    first photograph is transferred."""
    tone_subject: str = "smooth skin"
    """What those images show: a word that the base model knows."""
    keep_generators: int = 2
    """Generators held in memory; the one used longest ago makes room."""
    queue_size: int = 32
    """Requests that may wait; more are refused with a message."""
    queue_per_session: int = 4
    """Requests of one visitor that may wait; those of several visitors take turns."""
    keep_minutes: int = 60
    """How long a file of a session that is not closed is kept, in minutes."""
    threads: int | None = None
    """CPU threads; null takes all cores, as the commands do."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError on the first setting that cannot work."""
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                refuse(f"{path}{name}: {getattr(self, name)} is below 1; give a whole number from 1")
        if self.max_upload_mb <= 0:
            refuse(f"{path}max_upload_mb: {self.max_upload_mb} MB takes no file; give more than 0")
        if not self.generators:
            refuse(f"{path}generators: there is none; give bundled, a folder or a Hub id")
        if not self.conditions:
            refuse(f"{path}conditions: there is none; name one, such as red patch")
        if self.port is not None and not 1024 <= self.port <= 65535:
            refuse(f"{path}port: {self.port} is outside 1024 to 65535; null takes a free one")
        if self.threads is not None and self.threads < 1:
            refuse(f"{path}threads: {self.threads} is below 1; give a number of threads, or null")
        self._validate_hosts(path)
        for run in self.runs:
            if not (Path(run) / "report.md").is_file():
                refuse(f"{path}runs: {run} has no report.md; give the folder of a finished run")

    def _validate_hosts(self, path: str) -> None:
        outside = [self.host] if not is_loopback(self.host) else []
        for name in self.allowed_hosts:
            place = Place.read(name)
            if place is None and name != ANY_HOST:
                refuse(f"{path}allowed_hosts: {name!r} is no name; give NAME or NAME:PORT")
            if place is None and not outside:
                refuse(
                    f"{path}allowed_hosts: with '*' any web page could use the demo on {self.host}; name them"
                )
            outside += [] if place is not None and place.is_loopback else [name]
        if outside == [self.host] or not self.allowed_hosts:
            refuse(
                f"{path}allowed_hosts: none is a name by which others reach {self.host}; give those of this "
                "machine, or '*' for any"
            )
        if self.open_choice and outside:
            refuse(
                f"{path}open_choice: on {outside[0]} others could make this machine open its folders and "
                "load any model; set it to false, or host to 127.0.0.1 and allowed_hosts to its default"
            )

    def logins(self, path: str = "") -> list[tuple[str, str]] | None:
        """Return names and passwords, None where no login is asked for.

        Raises:
            ConfigError: the file cannot be read, is empty, or has a line without a name or a password.
        """
        if self.login_file is None:
            return None
        try:
            lines = Path(self.login_file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}login_file: {self.login_file} cannot be read; check the file"
            ) from error
        found = []
        for number, line in enumerate(lines, 1):
            name, colon, password = line.partition(":")
            if line.strip() and not (name and colon and password):
                raise ConfigError(f"{path}login_file: line {number} is not NAME:PASSWORD; correct it")
            if line.strip():
                found.append((name, password))
        if not found:
            raise ConfigError(f"{path}login_file: {self.login_file} has no line; write one as NAME:PASSWORD")
        return found
