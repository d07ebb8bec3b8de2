"""Run one shard function: in this process, on local workers, later on a cluster."""
