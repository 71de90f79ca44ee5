"""Accuracy by condition, class and slice, the direction and cost of errors, the quality of labels."""
