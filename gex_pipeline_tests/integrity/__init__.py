"""What the checks of a day find, in days that are well and in days that are damaged."""
