"""Reading what was recorded: over HTTP, and without a gateway."""
