"""Served preprocessing and prediction; imports neither torch nor DALI."""
