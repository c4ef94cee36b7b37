"""Build steps: plain functions over files."""
