"""Benchmarks: candidates take turns in one run; reports have medians, spread, hardware and versions."""
