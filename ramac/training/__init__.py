"""The training loop, several seeds at once, and what an update costs."""
