"""Refusals in words, and which field of a page they are about."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from skindiff.errors import SkindiffError
from skindiff.hub.clean import without_folders

BROKEN = "The demo could not do this; its log says why. Please try something else."
_FIELDS = (
    (r"second generator", "second"),
    (r"first generator|generator|model|base_model|revision|adapter", "generator"),
    (r"condition|classes|prompt|learned", "condition"),
    (r"skin type|groups", "skin_type"),
    (r"images", "images"),
    (r"guidance", "guidance"),
    (r"steps", "steps"),
    (r"seed", "seed"),
    (r"strength", "strength"),
    (r"please upload|(the|this) (photograph|file)|photograph", "photograph"),
)
"""How a refusal begins, and the field that it is about; what begins otherwise is about none."""


def refusal(words: str) -> gr.Error:
    """Return the error that a visitor reads in the line of the page; nothing of it goes into the log."""
    return gr.Error(words, visible=False, title="That did not work", print_exception=False)


@contextmanager
def in_words() -> Iterator[None]:
    """Show what a visitor can mend as words, without folders of this machine."""
    try:
        yield
    except SkindiffError as error:
        raise refusal(without_folders(str(error))) from None


@contextmanager
def blaming(which: str, typed: str) -> Iterator[None]:
    """Show such words as :func:`in_words` does; those about a generator say which of two it is, as it was
    typed."""
    try:
        yield
    except SkindiffError as error:
        words = without_folders(str(error))
        if field_at_fault(words) == "generator":
            words = f"{which} generator {typed!r}: {words}"
        raise refusal(words) from None


def field_at_fault(words: str) -> str | None:
    """Return the name of the field that a refusal is about, None where it is about none."""
    found = (name for start, name in _FIELDS if re.match(rf"({start})\b", words, re.IGNORECASE))
    return next(found, None)
