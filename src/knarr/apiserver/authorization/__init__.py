"""Whether a user may do what a request asks for: RBAC over the store's roles and bindings."""
