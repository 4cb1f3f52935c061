"""The revisioned store: compare-and-swap over SQLite, history in memory, bounded watches.

The store knows keys, resource versions and bytes; what the bytes mean is ``knarr.apiserver``'s
business. ``knarr.store.store.Store`` is the entrance.
"""
