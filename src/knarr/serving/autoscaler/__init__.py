"""The Knative pod autoscaler: windows of samples, pure decisions, and the machine that ends at zero."""
