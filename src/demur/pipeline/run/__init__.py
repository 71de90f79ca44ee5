"""The loop over conditions and shards, from a job to record rows."""
