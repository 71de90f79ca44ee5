"""A table of answers instead of a model and images: no torch is needed."""
