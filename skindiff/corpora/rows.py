"""What a report says of a corpus; this module loads nothing heavy."""

from typing import TypedDict


class CorpusCounts(TypedDict, total=False):
    """What :meth:`~skindiff.corpora.registry.Corpus.counts` returns; ``ungrouped`` where there are any."""

    images: int
    groups: int
    missing: int
    quarantined: int
    ungrouped: int
