"""Models that answer: classifiers, evaluation and feature files."""
