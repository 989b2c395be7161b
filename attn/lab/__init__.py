"""`attn lab`: small experiments in which theory predicts what attention does; measured beside predicted."""
