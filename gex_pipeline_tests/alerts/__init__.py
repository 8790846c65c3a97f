"""What operators are told, and when."""
