"""What people look at: panels, rules and the report read the store only by SQL."""
