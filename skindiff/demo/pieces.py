"""Small pieces of HTML and words that Gradio has no component for."""

import itertools
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from skindiff.corpora.attribute import SKIN_COLUMN
from skindiff.corpora.crops import REGIONS, CropKind, middle_taken
from skindiff.demo.again import Again
from skindiff.demo.captions import degrees
from skindiff.demo.drawing import Picture, Progress
from skindiff.demo.words import SWATCHES
from skindiff.synthesis.asked import asked_column

_LEAST, _MOST = -75.0, 90.0
_STOPS = (0, 25, 45, 60, 80, 100)
_NAME_WIDTH = 18.0


def report_frame(run: str, path: str) -> str:
    """Return the page of a report in a frame that gives it no scripts and no origin, and the way to it alone,
    where it has no more of either."""
    page = f"gradio_api/file={quote(path)}"
    return (
        f'<p class="sd-quiet"><a class="sd-out" href="{page}" target="_blank" rel="noopener">'
        "Open the report in a new tab</a></p>"
        f'<iframe class="sd-report" sandbox title="Report of {escape(run)}" src="{page}"></iframe>'
    )


def count_of(number: int, what: str = "image") -> str:
    """Return a number of things in words: ``1 image``, ``6 images``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def status(progress: Progress, seconds: float = 0.0, note: str = "") -> str:
    """Return the line that says what is being done, for how long, and about how long it will take."""
    done, total = len(progress.pictures), progress.total
    left = f", about {seconds / done * (total - done):.0f} s left" if 0 < done < total else ""
    time = f" ({seconds:.0f} s{left})" if seconds >= 1 else ""
    return (
        '<div class="sd-line" role="status">'
        f'<span class="sd-bar"><i style="width:{100 * done / total:.0f}%"></i></span>'
        f"<span>{done} of {total}: {escape(progress.doing)}{time}</span></div>{_noted(note)}"
    )


def said(text: str, bold: str = "", note: str = "") -> str:
    """Return a line of plain words, the first of them bold, and below it what is to be minded."""
    line = f'<div class="sd-line" role="status"><span><b>{escape(bold)}</b> {escape(text)}</span></div>'
    return line + _noted(note)


def shared(words: str, gallery: str) -> str:
    """Return what is said of all images of a gallery, to stand once over it; they are described by it too."""
    return f'<p class="sd-shared" data-of="{gallery}">{escape(words)}</p>'


def failed(words: str, field: str | None) -> str:
    """Return the line of a request that was refused, which marks the field at fault until the next line."""
    mark = f"<style>#{field} {{ outline: 2px solid #c0392b; outline-offset: -1px; }}</style>" if field else ""
    line = f"<span><b>Not done.</b> {escape(words)}</span>"
    return f'<div class="sd-line sd-failed" role="alert">{line}</div>{mark}'


def _noted(note: str) -> str:
    return f'<p class="sd-note" role="note">⚠ {escape(note)}</p>' if note else ""


def about(words: str) -> str:
    """Return what a generator is, to stand under its name."""
    return f'<p class="sd-about">{escape(words)}</p>'


def _code(title: str, kind: str, code: str) -> str:
    return f'<p>{title}</p><pre tabindex="0" class="{kind}">{escape(code)}</pre>' if code else ""


def link(address: str) -> str:
    """Return a link to the page with its fields as they are, which the page takes as its own address."""
    return f'<p class="sd-quiet"><a class="sd-link" href="?{escape(address)}">Link to these settings</a></p>'


def overlays(paths: Sequence[str], captions: Sequence[str]) -> str:
    """Return images in which the skin that a tone was measured on is blue, folded."""
    images = "".join(
        f'<img src="gradio_api/file={quote(path)}" alt="skin measured in {escape(words)}" loading="lazy">'
        for path, words in zip(paths, captions, strict=True)
    )
    return (
        "<details class='sd-again'><summary>Skin that the tones were measured on (in blue)</summary>"
        f'<div class="sd-overlays">{images}</div></details>'
    )


def again(how: Again, what: str = "these images", first: str = "") -> str:
    """Return how a result is made again, folded, with what is to be done first."""
    return (
        f'<details class="sd-again"><summary>Make {escape(what)} again</summary>'
        f"{f'<p>{escape(first)}</p>' if first else ''}"
        f"{_code('In a shell:', 'sd-command', how.command)}{_code('In Python:', 'sd-python', how.python)}"
        f"<p>{_exactness(how)}</p></details>"
    )


def _exactness(how: Again) -> str:
    """Return how alike the images are that are made again."""
    if how.threads == how.python_takes:
        return "On this machine the same images, bit for bit; on another to within 2 of 255 levels."
    return (
        f"On this machine the same images, bit for bit, by the command; on another, and by the Python, which "
        f"computes in {count_of(how.python_takes, 'thread')} where this demo has {how.threads}, to within 2 "
        "of 255 levels."
    )


def slider(before: tuple[str, str], after: tuple[str, str]) -> str:
    """Return two pictures, files with their captions, one over the other as far as a slider says, which the
    keyboard moves too; and what is on its sides."""
    first, second = (
        f'<img src="gradio_api/file={quote(path)}" alt="{escape(words)}">' for path, words in (before, after)
    )
    move = "this.previousElementSibling.style.setProperty('--at', this.value + '%')"
    return (
        f'<div class="sd-slider">{first}{second}</div>'
        f'<input type="range" min="0" max="100" value="50" aria-label="Before and after" oninput="{move}">'
        f'<p class="sd-sides"><span>◀ {escape(before[1])}</span><span>{escape(after[1])} ▶</span></p>'
    )


_PARTS = {"pad": "all", "stretch": "all", "longest": "all but what is over a usual shape"}
"""What an adapter's crop leaves of a photograph; of the others it is the middle square."""


def ita_strip(before: Picture, after: Sequence[Picture], crop: CropKind = "centre") -> str:
    """Return a scale of skin tones with the angle of a photograph and of each transfer of it, and at which
    size they were generated; the size alone where something else than the skin type was transferred."""
    height, width = before.pixels.shape[:2]
    made = (
        f"Generated at {width} x {height} pixels, from {_PARTS.get(crop, 'the central square')} of the "
        "photograph; the original is shown as it is."
    )
    if crop in REGIONS:
        made += f" {middle_taken(crop, 'generator')}"
    if len({picture.row.get(SKIN_COLUMN) for picture in after}) < len(after) or any(
        asked_column(picture.row.keys()) != SKIN_COLUMN for picture in after
    ):
        return f'<p class="sd-quiet">{made}</p>'
    marked = [(str(one.row["skin_type"]), one.ita) for one in after if one.ita is not None]
    places = _apart([_place(ita) for _, ita in marked])
    marks = [_mark(name, ita, x) for (name, ita), x in zip(marked, places, strict=True)]
    photograph = "" if before.ita is None else _photograph(_place(before.ita))
    stops = "".join(
        f'<stop offset="{share}%" stop-color="{colour}"/>'
        for share, colour in zip(_STOPS, SWATCHES.values(), strict=True)
    )
    ticks = "".join(
        f'<text class="quiet" x="{_place(angle):.1f}" y="84" text-anchor="middle">{degrees(angle)}</text>'
        for angle in (75.0, 50.0, 25.0, 0.0, -25.0, -50.0)
    )
    spoken = "; ".join(f"{picture.row['skin_type']} {degrees(picture.ita)}" for picture in after)
    return (
        f'<figure class="sd-ita"><svg viewBox="0 0 360 88" role="img" aria-label="ITA of the photograph '
        f'{degrees(before.ita)}; transferred: {spoken}">'
        f'<defs><linearGradient id="sd-skin">{stops}</linearGradient></defs>'
        '<rect x="10" y="32" width="340" height="16" rx="8" fill="url(#sd-skin)"/>'
        f"{ticks}{photograph}{''.join(marks)}</svg>"
        "<p>Measured ITA (individual typology angle) of the bare skin, light on the left. Light and "
        f"camera change it too: it is not a Fitzpatrick type. {made}</p></figure>"
    )


def _place(angle: float) -> float:
    return 10 + 340 * (_MOST - min(max(angle, _LEAST), _MOST)) / (_MOST - _LEAST)


def _apart(places: Sequence[float]) -> list[float]:
    """Return where the names of marks stand, each as near to its mark as names beside it let it."""
    order = sorted(range(len(places)), key=places.__getitem__)
    found = list(places)
    for before, place in itertools.pairwise(order):
        found[place] = max(found[place], found[before] + _NAME_WIDTH)
    most = 360 - _NAME_WIDTH / 2
    for place in reversed(order):
        found[place] = min(found[place], most)
        most = found[place] - _NAME_WIDTH
    return found


def _mark(name: str, angle: float, named_at: float) -> str:
    """Return a ring on the scale and its name above, at the end of a line from it."""
    x = _place(angle)
    return (
        f'<line x1="{named_at:.1f}" x2="{x:.1f}" y1="17" y2="35" stroke-width=".8"/>'
        f'<circle cx="{x:.1f}" cy="40" r="5" fill="none" stroke="#fff" stroke-width="2.6"/>'
        f'<circle cx="{x:.1f}" cy="40" r="5" fill="none" stroke="#1b1b1b" stroke-width="1.1"/>'
        f'<text x="{named_at:.1f}" y="13" text-anchor="middle">{name}</text>'
    )


def _photograph(x: float) -> str:
    """Return the mark of the photograph, which alone is named below the scale."""
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="30" y2="54" stroke-width="2"/>'
        f'<text x="{min(max(x, 32), 328):.1f}" y="66" text-anchor="middle">photograph</text>'
    )
