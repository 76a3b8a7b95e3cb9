"""Maintainers' measurements; not part of the wheel."""
