"""Tables made and adopted, keyed inserts, lineage."""
