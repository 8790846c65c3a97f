"""Asks GexBot for live snapshots while the market is open, and posts what is new to the gateway."""
