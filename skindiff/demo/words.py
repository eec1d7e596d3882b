"""The words of the page: skin types by name and colour, and every term explained in one line."""

from html import escape

from skindiff.corpora.schema import SKIN_TYPES

ANY = "any"
"""Skin type, or other value, where nothing is said of it."""
ALL = "(all)"
"""All skin types, or all conditions, one beside the other."""
TYPE_NAMES = dict(
    zip(
        SKIN_TYPES,
        ("very light", "light", "medium", "brown", "dark brown", "very dark brown"),
        strict=True,
    )
)
"""The Fitzpatrick types in words, as prompts and pages call them."""
SWATCHES = dict(
    zip(SKIN_TYPES, ("#f3dcc9", "#e2bd9c", "#c9976d", "#a06d47", "#633f2a", "#33211a"), strict=True)
)
"""A colour for each type, to tell them apart; no measured one."""
TERMS = {
    "Skin type": "Fitzpatrick's six types, by how skin burns and tans in the sun; I is the lightest, VI the "
    "darkest. Here they stand for skin tones.",
    "ITA": "individual typology angle, measured from the skin's colour; high is light, below −30° is dark. "
    "Light and camera change it too.",
    "Condition": "what the skin shows. A generator shows what it has learnt, and of other words something.",
    "Strength": "how far a photograph goes back into noise before it is generated anew; more changes more.",
    "Guidance": "how closely the words are followed; 1 is fastest, high values exaggerate.",
    "Steps": "how often noise is taken away; more is slower and finer.",
    "Seed": "names the start noise; the same seed and settings give the same image.",
    "Tone": "how light or dark the skin is in the image.",
    "Structure kept": "how well the pattern of light and dark in the lesion follows the original's, from 0% "
    "(not at all) to 100%; below 50% is marked as lost. A measurement, not a physician's judgement.",
    "KID": "kernel inception distance, how far a generator's images are from real ones that it never saw, by "
    "the features of a network; lower is nearer. Compare it within one run only.",
    "Phantom": "a computed image of skin; no patient is on it.",
}
"""What the page says once of each of its terms."""


def type_choice(value: str) -> str:
    """Return a skin type with its name, ``V (dark brown)``; any other value as it is."""
    return f"{value} ({TYPE_NAMES[value]})" if value in TYPE_NAMES else value


def swatches(*, named: bool = False) -> str:
    """Return the skin types with a swatch each, and with their names where asked for."""
    types = "".join(
        f'<li><i style="background:{SWATCHES[name]}"></i>{name}'
        f"{f'<span>{TYPE_NAMES[name]}</span>' if named else ''}</li>"
        for name in SKIN_TYPES
    )
    return f'<ul class="sd-swatches">{types}</ul>'


def explained(term: str) -> str:
    """Return the line of a term, to stand where the page uses it first."""
    return f'<p class="sd-about"><b>{escape(term)}</b>: {escape(TERMS[term])}</p>'


def glossary() -> str:
    """Return the skin types with their swatches and every term with its line, folded."""
    terms = "".join(f"<dt>{escape(term)}</dt><dd>{escape(words)}</dd>" for term, words in TERMS.items())
    return (
        '<details class="sd-terms"><summary>What the words mean</summary>'
        f"{swatches(named=True)}<dl>{terms}</dl></details>"
    )
