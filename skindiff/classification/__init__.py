"""How images are used: networks, fine-tuning, arms, cells and their scores."""
