"""The parts of the command line `gex`, a file for each group."""
