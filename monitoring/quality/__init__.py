"""How good a model is on live rows: with labels, with late labels, and without any."""
