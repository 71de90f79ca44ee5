"""The names of the array shapes that signatures speak of.

Images are channels-first and lie in [0, 1]; rows are always the first axis.
"""

from typing import TypeAlias

from jaxtyping import Bool, Float, Int
from torch import Tensor

Images: TypeAlias = Float[Tensor, "rows channels height width"]
Labels: TypeAlias = Int[Tensor, " rows"]
Logits: TypeAlias = Float[Tensor, "rows classes"]
Features: TypeAlias = Float[Tensor, "rows width"]
Scores: TypeAlias = Float[Tensor, " rows"]
Flags: TypeAlias = Bool[Tensor, " rows"]
Heat: TypeAlias = Float[Tensor, "rows height width"]
"""Maps of where a model looks: not negative, one value per cell of a grid that may be coarser than the image."""
