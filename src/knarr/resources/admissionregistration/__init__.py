"""``admissionregistration.k8s.io/v1``: who is asked before an object is written."""
