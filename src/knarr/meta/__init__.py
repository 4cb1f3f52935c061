"""The grammar every resource shares: objects, keys, conditions, selectors, names and errors."""
