"""Two to fifteen stages as one model, in this process or elsewhere."""
