"""Every image of a folder decoded once: which are bad, which are odd, and why."""
