"""Every error is one line that can be printed, whatever names and values are in it."""

from skindiff.errors import ConfigError


def test_an_error_is_one_line_that_can_be_printed() -> None:
    said = str(ConfigError("name: 'a\nb\r\nc\u2028d' is no name;\ngive another"))
    assert said == "name: 'a b c d' is no name; give another"
    assert str(ConfigError("half a \ud800 character")) == "half a ? character"


def test_the_middle_of_what_is_far_too_long_is_left_out() -> None:
    said = str(ConfigError(f"name: {'x' * 100_000} is no name; give another"))
    assert said.startswith("name: xxx")
    assert said.endswith("is no name; give another")
    assert len(said) < 1100
    assert str(ConfigError("short")) == "short"
    assert str(ConfigError()) == ""
