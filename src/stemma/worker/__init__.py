"""Does the work that the API wrote down: claims runs with a lease and advances them."""
