"""Checkpoints: their format, state, storage and what a resumed run must share."""
