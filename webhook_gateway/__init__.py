"""The HTTP gateway: validate, append to the journal, answer."""
