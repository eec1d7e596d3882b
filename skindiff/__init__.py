"""skindiff: diffusion-based augmentation for skin images, judged with honest statistics.

The rooms, in the order in which data flows: :mod:`skindiff.corpora` (where images come from),
:mod:`skindiff.generators` (what draws images), :mod:`skindiff.training` (how they learn),
:mod:`skindiff.synthesis` (from a generator to a synthetic data set), :mod:`skindiff.evaluation`
(is it any good). Importing this package does not import torch.
"""

__version__ = "0.1.0"
