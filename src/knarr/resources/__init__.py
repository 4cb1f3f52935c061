"""One typed model per kind: fields, defaulting, validation, conditions, columns, schema."""
