"""Watching production endpoints: what is due, what is found, what is kept of it and what follows."""
