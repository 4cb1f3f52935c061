"""What the nouns ``service``, ``revision`` and ``route`` share: flags, edits of documents, tables."""
