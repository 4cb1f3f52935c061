"""Who sends a request: the administrator, holders of client certificates, service accounts."""
