"""A report of more rows than a machine should hold: counted shard by shard, and looked into on a sample."""
