"""Realistic sessions and a GexBot stand-in, and the demo that runs the whole system on them."""
