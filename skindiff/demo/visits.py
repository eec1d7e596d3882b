"""What the pages of each visitor show now: the last images, how they were asked for, and what failed."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from skindiff.demo.downloads import Result
from skindiff.demo.settings import PageSettings

_VISITORS = 200


@dataclass
class Visit:
    """The visit of one session.

    Attributes:
        results: of each page, finished or not.
        asked: whether it has asked for anything yet.
        failed: why its last request was refused.
        history: finished results of each page, the newest first: settings and contact sheet.
    """

    results: dict[str, Result] = field(default_factory=dict)
    asked: bool = False
    failed: str = ""
    history: dict[str, list[tuple[PageSettings, str]]] = field(default_factory=dict)


class Visits:
    """Visits by session; the one that was seen longest ago makes room."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Visit] = OrderedDict()
        self._guard = threading.Lock()

    def of(self, session: str) -> Visit:
        """Return the visit of a session, a new one if there is none."""
        with self._guard:
            found = self._known.setdefault(session, Visit())
            self._known.move_to_end(session)
            while len(self._known) > _VISITORS:
                self._known.popitem(last=False)
            return found

    def end(self, session: str) -> None:
        """Forget a session."""
        with self._guard:
            self._known.pop(session, None)
