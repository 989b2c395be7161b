"""The tables of results.md and of the README, a module an app."""
