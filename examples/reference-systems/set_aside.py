"""A Parquet file of images with a column `split`: the last 1,000 are `tune`, to choose epochs by, the others `train`.

python examples/reference-systems/set_aside.py train.parquet marked.parquet
"""

import sys

import polars as pl

ASIDE = 1_000

source, target = sys.argv[1:]
rows = pl.read_parquet(source)
split = pl.Series(["train"] * (rows.height - ASIDE) + ["tune"] * ASIDE)
rows.with_columns(split=split).write_parquet(target)
