"""The queue of the demo: each session in turn, a few requests of each, and none that nobody waits for."""

import random
import time
from collections import Counter
from typing import Any

from gradio.queueing import Event, Queue
from gradio.server_messages import EstimationMessage, EventMessage, ProcessCompletedMessage

from skindiff.demo.listeners import Listeners
from skindiff.demo.visits import Visits

UNHEARD_SECONDS = 5.0
"""How long a request waits for somebody to listen to its answer."""
_GONE = "Nobody listened to the answer of this request, so it was dropped. Please send it again."
_FULL = "The queue is full. Please try again later."
_UNHEARD = 256
_RECORDED = 100
_SESSIONS = 1000


class TurnQueue(Queue):
    """Gradio's queue, in which sessions take turns.

    A request has its turn when somebody listens to its answer, and has a place in the queue only then. If
    nobody has for :data:`UNHEARD_SECONDS`, it is dropped: who queues requests and leaves keeps nobody
    waiting, and keeps nobody out.

    Args:
        listeners: who listens.
        visits: which are told what is refused.
        most: requests that may wait.
        per_session: requests of one session that may wait.
        options: of Gradio's queue.
    """

    def __init__(
        self, *, listeners: Listeners, visits: Visits, most: int, per_session: int, **options: Any
    ) -> None:
        super().__init__(max_size=None, **options)
        self.visits = visits
        self.listeners, self.most, self.per_session = listeners, most, per_session
        # Each finished request has Gradio summarise all that are recorded.
        self.ANALYTICS_MAX_EVENTS = _RECORDED

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Take a request, or say why it is not taken."""
        lines = [line.queue for line in self.event_queue_per_concurrency_id.values()]
        for line in lines:
            self._drop_unheard(line)
        waiting = sum(event.session_hash == body.session_hash for line in lines for event in line)
        if waiting >= self.per_session:
            return self._refused(
                body.session_hash, f"{waiting} requests of this page are waiting, and no more may."
            )
        if self._make_room(lines) >= self.most:
            return self._refused(body.session_hash, _FULL)
        self._forget()
        taken, name, state = await super().push(body, request, username)
        event = self.event_ids_to_events.get(str(name)) if taken else None
        if event is not None:
            place = self.event_queue_per_concurrency_id[event.concurrency_id]
            place.queue[:] = in_turns(place.queue)
            self.broadcast_estimations(event.concurrency_id)
        return taken, name, state

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """Return the request whose turn it is, if one can be worked on."""
        lines = list(self.event_queue_per_concurrency_id.items())
        random.shuffle(lines)
        for name, line in lines:
            self._drop_unheard(line.queue)
            if line.concurrency_limit is not None and line.current_concurrency >= line.concurrency_limit:
                continue
            for event in line.queue:
                if self._is_heard(event):
                    line.queue.remove(event)
                    return [event], False, name
        return None

    def send_message(self, event: Event, event_message: EventMessage) -> None:
        """Send a message to who waits for an event, if the session is still there.

        Where a request stands is told to who listens alone: unread, it would pile up.
        """
        if event.session_hash not in self.pending_messages_per_session:
            return
        if not isinstance(event_message, EstimationMessage) or self._is_heard(event):
            super().send_message(event, event_message)

    def _refused(self, session: Any, words: str) -> tuple[bool, str, str]:
        """Refuse a request, which the line of the page says too."""
        self.visits.of(str(session)).failed = words
        return False, words, "queue_full"

    def _is_heard(self, event: Event) -> bool:
        return self.listeners.waits(event._id, event.session_hash)

    def _drop_unheard(self, waiting: list[Event]) -> None:
        late = time.monotonic() - UNHEARD_SECONDS
        for event in list(waiting):
            if event.enqueue_time < late and not self._is_heard(event):
                self._drop(waiting, event)

    def _make_room(self, lines: list[list[Event]]) -> int:
        """Drop the oldest of too many that nobody listens to, the newest of too many others; count these."""
        events = [(line, event) for line in lines for event in line]
        events.sort(key=lambda pair: pair[1].enqueue_time)
        heard = [pair for pair in events if self._is_heard(pair[1])]
        unheard = [pair for pair in events if not self._is_heard(pair[1])]
        for line, event in unheard[: max(0, 1 + len(unheard) - _UNHEARD)]:
            self._drop(line, event)
        for line, event in heard[self.most :]:
            self._drop(line, event, _FULL)
        return len(heard)

    def _drop(self, waiting: list[Event], event: Event, words: str = _GONE) -> None:
        waiting.remove(event)
        self.event_ids_to_events.pop(event._id, None)
        self.visits.of(str(event.session_hash)).failed = words
        said: dict[str, Any] = {"error": words, "visible": True, "duration": 15, "title": "Not taken"}
        self.send_message(event, ProcessCompletedMessage(output=said, success=False))

    def _forget(self) -> None:
        """Forget sessions that nobody listens to, before Gradio forgets the oldest, whoever listens."""
        if len(self.pending_messages_per_session) < _SESSIONS:
            return
        busy = {event.session_hash for event in self.event_ids_to_events.values()}
        for session in list(self.pending_messages_per_session):
            if session not in busy and not self.listeners.waits(session):
                del self.pending_messages_per_session[session]
        for session in list(self.pending_event_ids_session):
            if session not in self.pending_messages_per_session:
                del self.pending_event_ids_session[session]


def in_turns(waiting: list[Event]) -> list[Event]:
    """Return requests with the first of each session first, then the second of each, and so on."""
    before: Counter[str] = Counter()
    order = []
    for event in waiting:
        order.append(before[event.session_hash])
        before[event.session_hash] += 1
    return [event for _, event in sorted(zip(order, waiting, strict=True), key=lambda pair: pair[0])]
