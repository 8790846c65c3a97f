"""Records dealer gamma exposure: history imports, storage and the loader behind the webhook gateway."""

import os

# Arrow reads this once, when it is loaded. Its other allocator gives memory back and takes it again with every row
# group, which costs the staging of a day a sixth of its time.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

__version__ = "0.1.0"
