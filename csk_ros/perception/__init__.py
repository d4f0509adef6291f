"""From frame arrivals to decisions: pairing with fallback, and the account of every frame."""
