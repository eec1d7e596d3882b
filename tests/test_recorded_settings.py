from dataclasses import asdict, dataclass, field

from skindiff.recorded_settings import LATER, recorded


@dataclass
class Part:
    steps: int = 3
    words: list[str] = field(default_factory=list, metadata=LATER)


@dataclass
class Whole:
    part: Part = field(default_factory=Part)
    caption: str = field(default="", metadata=LATER)
    further: dict[str, Part] = field(default_factory=dict)


def test_a_later_setting_is_left_out_at_its_default_alone() -> None:
    settings = Whole(further={"one": Part(5)})
    assert recorded(settings) == {"part": {"steps": 3}, "further": {"one": {"steps": 5}}}
    told = Whole(Part(words=["site"]), "trunk")
    assert recorded(told) == asdict(told)
    assert recorded([settings.part, None]) == [{"steps": 3}, None]
