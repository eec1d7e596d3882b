"""The commands of ``skindiff``, one file each; the door to them is :mod:`skindiff.cli`.

A command is a module with ``main(words) -> int``, which is given what follows its name. This package itself
imports nothing, so that ``skindiff --help`` is quick.
"""

COMMANDS: dict[str, str] = {
    "data": "say how a folder of images and its table are read (check), or which data sets are known (list)",
    "audit": "find undecodable, tiny, constant and near-duplicate images of a folder",
    "train": "train a generator (textual-inversion, lora, ddpm, cvae, cgan ...) or a classifier",
    "sample": "generate images by class and skin type, or transfer a corpus to other skin types",
    "evaluate": "train classifiers with and without synthetic images, and report the effects",
    "report": "show the verdicts and the scores of a run in the terminal",
    "compare": "set runs side by side: where they differ, and what each says of every arm",
    "export": "write an adapter for ComfyUI and A1111",
    "push": "put an adapter, pipeline, classifier, data set or run on the Hub",
    "demo": "open a page to generate, transfer and compare, or write it as a Space",
    "run": "run a whole study, from the corpus to the report",
    "completion": "print a script that lets the shell complete these commands",
}
"""What each command does, in the order of their help."""
