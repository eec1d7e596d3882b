"""Do classifiers gain: arms, cells, scores, and the detector of S4."""
