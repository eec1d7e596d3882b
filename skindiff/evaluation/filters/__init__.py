"""Which of the drawn images are worth training on: scores, and an equal share of every class."""
