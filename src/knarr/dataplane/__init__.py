"""Python's side of the data plane protocol: compiles resources, keeps the session, receives statistics."""
