"""How well each uncertainty score ranks errors, attacks and shifts."""
