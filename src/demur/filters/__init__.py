"""Filters: a batch of images in, the filtered batch out; shared by corruptions and by feature squeezing.

Each row is filtered alone, so that its bytes do not depend on its company.
"""
