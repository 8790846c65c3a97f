"""The audit of what is stored."""
