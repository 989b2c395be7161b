"""File formats to arrays and tables; no model is known here. Every fault of a file is an InputError."""
