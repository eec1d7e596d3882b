"""Which groups an arm helps or hurts: scores by skin type (or any other group of patients) and class."""
