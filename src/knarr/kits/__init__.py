"""What the standard library should have had; nothing here knows a domain."""
