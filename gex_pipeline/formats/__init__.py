"""What arrives: parsers for GexBot snapshots, history files and Unusual Whales messages."""
