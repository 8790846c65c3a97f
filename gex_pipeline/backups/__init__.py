"""Backups of the database: made, listed, verified and restored while the system runs."""
