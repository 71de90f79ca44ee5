"""Maps of picture files: overlays and a table in a folder.

explain.csv           one row per image and map; an image that cannot be read is a row with a reason
<image>-<map>.png     the image, and beside it the same with the map on top
"""

from demur.explain.folder.model import open_model
from demur.explain.folder.pictures import Picture, find
from demur.explain.folder.run import TABLE, explain

__all__ = ["TABLE", "Picture", "explain", "find", "open_model"]
