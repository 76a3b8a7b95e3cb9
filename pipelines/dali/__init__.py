"""DALI graphs and the loader that runs them."""
