"""Names of the files of `alexnet-fast features`; a module of its own, which imports nothing heavy."""

from __future__ import annotations

FEATURE_FILES = ("features.npy", "files.csv", "features.parquet")
