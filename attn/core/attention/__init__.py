"""Softmax attention: one door (`attend`), a way to look inside (`watch`), and what computes it (`kernels`)."""
