"""Who waits for answers: an open stream of a session, or of one request."""

from collections import Counter


class Listeners:
    """Which sessions and requests have somebody who waits for their answer."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def waits(self, *names: str) -> bool:
        """Return whether somebody listens to one of these sessions or requests."""
        return any(self._open[name] for name in names)

    def change(self, name: str, by: int) -> None:
        """Count a listener in (1) or out (-1)."""
        self._open[name] += by
        if self._open[name] <= 0:
            del self._open[name]
