"""The names that the demo answers to, and the pages whose requests it takes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

ANY_HOST = "*"
"""Among the names that are allowed: everyone is answered."""
_PLACE = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]*[a-z0-9_-])\.?(?::(\d{1,5}))?")
_ORIGIN = re.compile(r"https?://(.+)")


@dataclass(frozen=True)
class Place:
    """A name with or without a port, as in ``Host``, in ``Origin`` behind its scheme, and in the settings."""

    name: str
    port: int | None

    @classmethod
    def read(cls, text: str) -> "Place | None":
        """Read ``NAME``, ``NAME:PORT`` or ``[IPV6]:PORT``; None where it is none of them.

        Case and one dot at the end of a name say nothing.
        """
        found = _PLACE.fullmatch(text.lower())
        if found is None:
            return None
        name, port = found[1], None if found[2] is None else int(found[2])
        try:
            return cls(str(ip_address(name.strip("[]"))), port)
        except ValueError:
            return None if name.startswith("[") else cls(name, port)

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, seen from itself."""
        try:
            return self.name == "localhost" or ip_address(self.name).is_loopback
        except ValueError:
            return False


class Doors:
    """The rule of who is answered.

    Args:
        allowed: names with or without a port, or :data:`ANY_HOST`, which answers everyone.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self.any = ANY_HOST in allowed
        self.names = [name for name in allowed if name != ANY_HOST]
        self._places = [place for place in map(Place.read, self.names) if place is not None]

    @property
    def frames(self) -> str:
        """The policy by which a browser shows the demo inside of other pages: those of the same names."""
        names = ["*"] if self.any else [f"{one.name}:*" for one in self._places if ":" not in one.name]
        return f"frame-ancestors 'self' {' '.join(names)}"

    def refusal(
        self, hosts: Sequence[str], origins: Sequence[str], site: str | None = None, mode: str | None = None
    ) -> str | None:
        """Return why a request is refused, None where it is answered.

        A page of another origin is refused even where it is of this machine: what runs on another port is not
        the demo's. Where a proxy changes ``Host``, ``Origin`` may be another name that was allowed, but none
        of loopback.

        Args:
            hosts: its headers ``Host``; there must be one.
            origins: its headers ``Origin``; programs that are no browsers send none.
            site: its header ``Sec-Fetch-Site``: a picture or script asked for by another page has no
                ``Origin``, but this.
            mode: its header ``Sec-Fetch-Mode``; links from elsewhere may be followed.
        """
        if self.any:
            return None
        host = Place.read(hosts[0]) if len(hosts) == 1 else None
        if host is None or not self._allowed(host):
            return (
                f"This demo does not answer to the name {', '.join(hosts)[:80]!r}, only to "
                f"{', '.join(self.names)}; start it with that name in allowed_hosts."
            )
        for origin in origins:
            if not self._is_own(origin, host):
                return (
                    f"This demo does not answer to pages of {origin[:80]!r}; open its own page, or start it "
                    "with that name in allowed_hosts."
                )
        if not origins and site not in (None, "none", "same-origin") and mode != "navigate":
            return "This demo is no part of other pages; open its own page."
        return None

    def _allowed(self, place: Place) -> bool:
        return any(one.name == place.name and one.port in (None, place.port) for one in self._places)

    def _is_own(self, origin: str, host: Place) -> bool:
        found = _ORIGIN.fullmatch(origin)
        place = Place.read(found[1]) if found else None
        return place is not None and (place == host or (not place.is_loopback and self._allowed(place)))


def is_loopback(host: str) -> bool:
    """Return whether ``host`` can be reached from this machine only."""
    place = Place.read(f"[{host}]" if host.count(":") > 1 and "[" not in host else host)
    return place is not None and place.is_loopback
