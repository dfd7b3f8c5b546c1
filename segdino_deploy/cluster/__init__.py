"""Images by the million on a cluster: Ray Data feeds actors that hold the engine, and brings their results together."""
