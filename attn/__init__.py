"""One attention core, five applications."""
