"""From a generator to a synthetic data set: plans, the skin-type transfer, the writer."""
