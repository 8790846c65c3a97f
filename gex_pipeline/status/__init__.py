"""How the whole system is, part by part, whether or not it runs."""
