"""The page on which a person says who is who, what it shows, and what becomes of the answers."""
