"""Prediction and serving with exported models; imports neither torch nor DALI."""
