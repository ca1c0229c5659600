"""What a user types, and how the parts are joined."""
