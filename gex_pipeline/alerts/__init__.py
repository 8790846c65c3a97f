"""Tells operators what goes wrong while captures are taken, and when it is over."""
