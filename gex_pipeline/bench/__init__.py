"""Benchmarks: what an import and a capture cost, always beside something else that runs in the same minutes."""
