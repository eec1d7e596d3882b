"""The demo: a page in the browser to generate, transfer, compare and read a report (extra ``demo``).

:mod:`~skindiff.demo.config` holds the settings, :mod:`~skindiff.demo.generator_cache` loads generators,
:mod:`~skindiff.demo.drawing` and :mod:`~skindiff.demo.transferring` generate (without Gradio),
:mod:`~skindiff.demo.settings` makes a result again, :mod:`~skindiff.demo.app` is the page,
:mod:`~skindiff.demo.guard` judges who may use it, :mod:`~skindiff.demo.turns` whose turn it is, and
:mod:`~skindiff.demo.space` writes it as a folder for a Space of the Hub.
"""
