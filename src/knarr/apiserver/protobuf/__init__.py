"""Kubernetes' protobuf encoding of request bodies: a table of facts and a decoder that reads it."""
