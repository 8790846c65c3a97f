"""The audit of what is stored: which days are there, and whether they are what the history files said."""
