"""Moves journal records into the database, each exactly once."""
