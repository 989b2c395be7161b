"""`attn mixers`: what the mechanisms of attention are, what they cost, and what they are worth in an app."""
