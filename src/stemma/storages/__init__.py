"""Where data comes from, and by which rules this service asks others for it."""
