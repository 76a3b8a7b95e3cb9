"""Benchmarks: candidates take turns in one run; medians with their spread, hardware and versions."""
