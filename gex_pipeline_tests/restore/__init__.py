"""Restoring a backup: to a new path, in place, under a running system; what came since comes back once."""
