"""The Kubernetes dialect over the store: verbs, patches, watches, discovery, tables, admission, auth.

``handler.Handler`` answers requests and knows no HTTP library; ``http`` and ``inprocess`` are the two
thin shells around it, ``app.ApiServer`` puts all of it together.
"""
