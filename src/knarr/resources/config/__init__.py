"""Knative's ConfigMaps as typed values: pure parsers with Knative's keys, defaults and errors."""
