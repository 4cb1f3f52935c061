"""The embedded stand-ins for kube-controller-manager and kube-scheduler."""
