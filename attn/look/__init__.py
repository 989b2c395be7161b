"""`attn look`: what a trained model attends to, which of its heads matter, and what happens if one steps in."""
