"""Attacks of other libraries and functions of one's own, judged by demur."""
