"""All benchmarks in one run, and the page with their tables and plots."""
