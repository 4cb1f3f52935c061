"""The three ways to patch a document: merge, JSON and strategic merge. Pure functions."""
