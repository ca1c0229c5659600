"""Services that die, or stand still, at chosen points between bus and store."""
