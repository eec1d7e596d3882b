"""The look of the demo: theme, style sheet, and the small pieces of HTML that Gradio has no component for."""

from collections.abc import Sequence
from html import escape

import gradio as gr

from skindiff.corpora.attribute import SKIN_COLUMN
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.demo.drawing import Picture, Progress
from skindiff.synthesis.asked import asked_column

NOTICE = (
    "For research and teaching. <strong>Not for clinical use:</strong> nothing here is a diagnosis, and no "
    "image here shows how a disease looks on a person."
)
_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
_BROWN = gr.themes.Color(
    c50="#fbf6f1", c100="#f5e9dd", c200="#e9d2bb", c300="#dab690", c400="#c68f5e", c500="#ad713d",
    c600="#9a5b2c", c700="#7d4822", c800="#643a1e", c900="#4f2f1a", c950="#2d190c",
)  # fmt: skip
_LEAST, _MOST = -75.0, 90.0
_TONES = ("#f3dcc9", "#e2bd9c", "#c9976d", "#a06d47", "#633f2a", "#33211a")
_STOPS = (0, 25, 45, 60, 80, 100)
_MARK = "".join(f'<circle cx="{6 + 10.8 * n}" cy="6" r="5.4" fill="{c}"/>' for n, c in enumerate(_TONES))

HEADER = f"""
<header class="sd-head">
  <div class="sd-title">
    <svg viewBox="0 0 66 12" role="img" aria-label="six skin tones">{_MARK}</svg>
    <h1>skindiff</h1>
  </div>
  <p>Generate skin conditions on any skin type, transfer a photograph to all six, and measure the change.</p>
  <p class="sd-notice" role="note">{NOTICE}</p>
</header>
"""

CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
.dark { --color-accent: #d8a273; }
.sd-head { padding: 10px 2px 0; }
.sd-title { display: flex; align-items: center; gap: 12px; }
.sd-title svg { width: 92px; height: 17px; flex: none; }
.sd-title h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; letter-spacing: -.02em; }
.sd-head p { margin: 6px 0 0; color: var(--body-text-color-subdued); font-size: 1rem; }
.sd-head .sd-notice { margin-top: 10px; padding: 9px 13px; border-radius: 8px; font-size: .9rem;
  color: var(--body-text-color); background: color-mix(in srgb, #d9822b 14%, transparent);
  border-left: 4px solid #d9822b; }
.sd-gallery .grid-container { grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)) !important;
  grid-template-rows: none !important; grid-auto-rows: auto !important; }
.sd-gallery .grid-wrap { height: auto !important; min-height: 120px !important; max-height: none !important; }
#redrawn .grid-container { grid-template-columns: repeat(6, 1fr) !important; }
#slider { max-width: 340px; margin: 8px auto 0; border: 0 !important; }
.sd-gallery .caption-label { font-variant-numeric: tabular-nums; font-size: .76rem;
  padding: 2px 5px; max-width: 96% !important; right: 2% !important; bottom: 2% !important; }
.sd-status { min-height: 44px; }
.sd-status .error { display: none; }
.sd-line { display: flex; gap: 12px; align-items: center; font-size: .92rem; padding: 4px 2px;
  font-variant-numeric: tabular-nums; color: var(--body-text-color-subdued); }
.sd-line b { color: var(--body-text-color); font-weight: 600; }
.sd-bar { flex: 0 0 120px; height: 6px; border-radius: 3px; background: var(--border-color-primary);
  overflow: hidden; }
.sd-bar i { display: block; height: 100%; background: var(--color-accent); }
.sd-ita { max-width: 720px; margin: 4px auto 0; }
.sd-ita svg { width: 100%; height: auto; display: block; }
.sd-ita text { fill: var(--body-text-color); font-size: 12px; font-variant-numeric: tabular-nums; }
.sd-ita .quiet { fill: var(--body-text-color-subdued); font-size: 10.5px; }
.sd-ita line { stroke: var(--body-text-color); }
.sd-ita p { font-size: .85rem; color: var(--body-text-color-subdued); margin: 2px 0 0; }
.sd-report { max-width: 900px; line-height: 1.55; overflow-wrap: anywhere; }
.sd-report h1 { font-size: 1.5rem; margin: .4em 0; }
.sd-report h2 { font-size: 1.2rem; margin: 1.4em 0 .4em; }
.sd-report img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; margin: 8px 0; }
.sd-report ul { padding-left: 1.2em; list-style: disc; } .sd-report li { margin: .25em 0; }
.sd-report p { margin: .6em 0; }
.sd-scroll { overflow-x: auto; margin: 8px 0; }
.sd-report table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
.sd-report th, .sd-report td { padding: 5px 9px; border-bottom: 1px solid var(--border-color-primary);
  white-space: nowrap; text-align: left; }
@media (max-width: 640px) {
  .sd-gallery .grid-container, #redrawn .grid-container {
    grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)) !important; }
  .sd-gallery .caption-label { font-size: .68rem; padding: 1px 4px; }
  button[role=tab] { padding: 0 9px !important; font-size: .9rem !important; }
  .sd-head p { font-size: .93rem; }
}
"""


def theme() -> gr.themes.Base:
    """Return the theme; its fonts are the visitor's own, so that nothing is fetched from elsewhere."""
    return gr.themes.Soft(
        primary_hue=_BROWN,
        secondary_hue="stone",
        neutral_hue="stone",
        font=_FONTS,
        font_mono=("ui-monospace", "Consolas", "Liberation Mono", "monospace"),
    ).set(
        body_background_fill="#f6f2ee",
        body_text_color_subdued="#6a605a",
        body_text_color_subdued_dark="#b9afa7",
        block_info_text_color="#6a605a",
        block_info_text_color_dark="#b9afa7",
        block_border_width="1px",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_padding="0",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_text_color="*body_text_color_subdued",
        block_label_text_color_dark="*body_text_color_subdued",
        block_label_shadow="none",
        input_border_width="1px",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
    )


def degrees(ita: float | None) -> str:
    """Return a measured angle in words."""
    return "not measurable" if ita is None else f"{ita:.0f}°".replace("-", "−")


def caption(picture: Picture) -> str:
    """Return the caption of an image: the skin type (or other value) asked for, if any, and its ITA."""
    asked = picture.row.get(asked_column(picture.row.keys()))
    measured = f"ITA {degrees(picture.ita)}"
    return f"{asked} · {measured}" if asked else measured


def status(progress: Progress) -> str:
    """Return the line that says what is being done."""
    share = 100 * len(progress.pictures) / progress.total
    return (
        f'<div class="sd-line" role="status"><span class="sd-bar"><i style="width:{share:.0f}%"></i></span>'
        f"<span>{len(progress.pictures)} of {progress.total}: {escape(progress.doing)}</span></div>"
    )


def said(text: str, bold: str = "") -> str:
    """Return a line of plain words, the first of them bold."""
    return f'<div class="sd-line" role="status"><span><b>{escape(bold)}</b> {escape(text)}</span></div>'


def ita_strip(before: Picture, after: Sequence[Picture]) -> str:
    """Return a scale of skin tones with the angle of a photograph and of each transfer of it; nothing where
    something else than the skin type was transferred."""
    if any(asked_column(picture.row.keys()) != SKIN_COLUMN for picture in after):
        return ""
    parts = [_mark(before.ita, "photo", above=None)]
    for picture in after:
        skin_type = str(picture.row["skin_type"])
        parts.append(_mark(picture.ita, skin_type, above=SKIN_TYPES.index(skin_type) % 2 == 0))
    stops = "".join(
        f'<stop offset="{share}%" stop-color="{colour}"/>'
        for share, colour in zip(_STOPS, _TONES, strict=True)
    )
    ticks = "".join(
        f'<text class="quiet" x="{_place(angle):.1f}" y="87" text-anchor="middle">{degrees(angle)}</text>'
        for angle in (75.0, 50.0, 25.0, 0.0, -25.0, -50.0)
    )
    spoken = "; ".join(f"{picture.row['skin_type']} {degrees(picture.ita)}" for picture in after)
    return (
        f'<figure class="sd-ita"><svg viewBox="0 0 360 92" role="img" aria-label="ITA of the photograph '
        f'{degrees(before.ita)}; transferred: {spoken}">'
        f'<defs><linearGradient id="sd-skin">{stops}</linearGradient></defs>'
        '<rect x="10" y="32" width="340" height="16" rx="8" fill="url(#sd-skin)"/>'
        f"{ticks}{''.join(parts)}</svg>"
        "<p>Measured ITA (individual typology angle) of the bare skin, light on the left. Light and "
        "camera change it too: it is not a Fitzpatrick type.</p></figure>"
    )


def _place(angle: float) -> float:
    return 10 + 340 * (_MOST - min(max(angle, _LEAST), _MOST)) / (_MOST - _LEAST)


def _mark(angle: float | None, name: str, *, above: bool | None) -> str:
    if angle is None:
        return ""
    x = _place(angle)
    if above is None:
        return (
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="14" y2="52" stroke-width="2"/>'
            f'<text x="{min(max(x, 24), 336):.1f}" y="10" text-anchor="middle">{name}</text>'
        )
    y = 27 if above else 63
    return (
        f'<circle cx="{x:.1f}" cy="40" r="5" fill="none" stroke="#fff" stroke-width="2.6"/>'
        f'<circle cx="{x:.1f}" cy="40" r="5" fill="none" stroke="#1b1b1b" stroke-width="1.1"/>'
        f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{name}</text>'
    )
