"""Adversarial images as files: arrays, a table, pictures, an 8-bit copy, and how far they carry to other models.

attack.json                          the request, and what was found
<model>/<attack>.safetensors         images, labels, logits, distances, … (or .npz)
<model>/<attack>.parquet             one record row per image: ids, distances, stages, cost
<model>/<attack>.rounded.safetensors the same images as bytes (or .npz)
<model>/<attack>.png                 some of them: clean, attacked, difference
"""

from demur.pipeline.export.export_run import export
from demur.pipeline.export.point_files import read_arrays

__all__ = ["export", "read_arrays"]
