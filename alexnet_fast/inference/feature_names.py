"""The files of `alexnet-fast features`; nothing heavy is imported to know them."""

from __future__ import annotations

FEATURE_FILES = ("features.npy", "files.csv", "features.parquet")
