"""What runs inside a model server; it stands alone and imports nothing else of Seaway."""
