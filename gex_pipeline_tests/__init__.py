"""Tests of the whole system, against real files, processes and servers."""
