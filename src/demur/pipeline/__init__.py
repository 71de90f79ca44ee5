"""The only loop that runs the model over conditions."""
