"""How generators and classifiers learn: one Accelerate loop and one small file per method."""
