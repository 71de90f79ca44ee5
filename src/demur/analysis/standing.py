"""The rows that a promise is about."""

import numpy as np
import polars as pl

from demur.analysis.run import groups, wrong
from demur.policies import Calibration


def standing(rows: pl.DataFrame) -> pl.DataFrame:
    """One image of each group, chosen by its id alone as the certificate does; all rows where none has a group."""
    every = np.arange(len(rows), dtype=np.float64)
    ids = rows["sample_id"].to_list()
    one = Calibration(scores=every, wrong=wrong(rows), groups=groups(rows), ids=ids).one_per_group()
    return rows[one.scores.astype(np.intp)]
