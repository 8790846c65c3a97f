"""Tests of what keeps a running system in order."""
