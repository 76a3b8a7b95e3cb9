"""Inference on images: classifiers, evaluation and feature files."""
