"""What controllers see of any Kubernetes API: client, informer, work queue, controller runtime."""
