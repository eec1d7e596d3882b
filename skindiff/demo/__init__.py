"""The demo: a page in the browser to draw, re-draw, compare and look at a run (extra ``demo``).

:mod:`~skindiff.demo.config` holds the settings, :mod:`~skindiff.demo.generator_cache` loads generators,
:mod:`~skindiff.demo.drawing` draws (without Gradio), :mod:`~skindiff.demo.app` is the page, and
:mod:`~skindiff.demo.space` writes it as a folder for a Space of the Hub.
"""
