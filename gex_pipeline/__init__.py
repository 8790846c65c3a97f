"""Records dealer gamma exposure: history imports, storage and the loader behind the webhook gateway."""

__version__ = "0.1.0"
