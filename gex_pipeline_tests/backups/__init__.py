"""Backups of the database: what is in them, what proves them, when they are made and when they go."""
