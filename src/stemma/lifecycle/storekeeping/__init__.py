"""Looking after the store: what lies there, whether it is whole, and what may go. For operators, not for people."""
