"""How a picture in a file becomes an image in [0, 1], as rules that addresses carry; no pixel is touched here."""
