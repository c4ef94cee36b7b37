"""The training side of the container contract: job files, the user's script, the built-in estimator."""
