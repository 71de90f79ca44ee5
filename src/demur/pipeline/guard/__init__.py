"""Guards are fitted, certified and certified again here; the guard itself, which decides, is a room of its own."""
