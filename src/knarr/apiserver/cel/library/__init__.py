"""What functions do: by name, ``function(budget, *arguments)``."""
