"""The look of the demo: theme, style sheet and header."""

from pathlib import Path

import gradio as gr

from skindiff.demo.words import SWATCHES

NOTICE = (
    "For research and teaching. <strong>Not for clinical use:</strong> nothing here is a diagnosis, and no "
    "image here shows how a disease looks on a person."
)
_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
_BROWN = gr.themes.Color(
    c50="#fbf6f1", c100="#f5e9dd", c200="#e9d2bb", c300="#dab690", c400="#c68f5e", c500="#ad713d",
    c600="#9a5b2c", c700="#7d4822", c800="#643a1e", c900="#4f2f1a", c950="#2d190c",
)  # fmt: skip
_MARK = "".join(
    f'<circle cx="{6 + 10.8 * n}" cy="6" r="5.4" fill="{c}"/>' for n, c in enumerate(SWATCHES.values())
)

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

HEAD = """<style>
.gradio-container { width: 100%; max-width: 1180px !important; margin: 0 auto !important; }
.gradio-container:not(
  :has(.sd-terms):has([role=tab]):has(input[type=range]):has(.wrap-inner):has(.label-wrap)) {
  visibility: hidden; animation: sd-shown 0s 30s forwards; }
@keyframes sd-shown { to { visibility: visible; } }
*:focus-visible:not(.wrap-inner input),
.wrap:has(> .wrap-inner):focus-within { outline: 3px solid #b0682f !important; outline-offset: 1px; }
.dark *:focus-visible:not(.wrap-inner input),
.dark .wrap:has(> .wrap-inner):focus-within { outline-color: #e0b088 !important; }
.wrap-inner input:focus-visible { outline: none !important; }
.wrap:has(> .wrap-inner):focus-within { border-color: transparent !important; box-shadow: none !important; }
@media (max-width: 640px) {
  .gradio-container .app { padding: 12px !important; }
  footer .divider { display: none !important; }
}
</style>
<script>
new MutationObserver(() => {
  for (const one of document.querySelectorAll("[data-testid=toast-text]"))
    if (one.children.length) one.textContent = one.textContent;
  for (const shared of document.querySelectorAll(".sd-shared"))
    for (const one of document.querySelectorAll(`#${shared.dataset.of} .thumbnail-lg`)) {
      const words = [shared.textContent, one.querySelector(".caption-label")?.textContent ?? ""];
      one.querySelector("img").alt = words.filter(Boolean).join(" · ").trim();
      one.ariaLabel = one.querySelector("img").alt;
    }
}).observe(document, {childList: true, subtree: true});
</script>"""
"""What Gradio's own scope of a style sheet does not reach: the frame of the page, which has its width before
anything is in it, is hidden until all kinds of fields are there (their code comes one after the other, and
what is shown would move), and is narrow on a phone, so that no tab is hidden; and visible focus, since that
scope takes lists inside of a selector apart. Toasts as text, since Gradio reads as HTML what it says there of
a file by its name; and images of a gallery described by all that is said of them, of which Gradio knows but
the caption, and calls their buttons by number."""
CSS = Path(__file__).with_name("page.css").read_text(encoding="utf-8")


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
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        checkbox_label_background_fill_selected="*primary_700",
        checkbox_label_background_fill_selected_dark="*primary_700",
        checkbox_background_color_selected="*primary_700",
        button_secondary_background_fill_hover_dark="*primary_600",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
    )
