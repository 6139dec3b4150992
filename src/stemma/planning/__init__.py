"""What to fetch next, over how many streams, what to keep and what to drop. Pure: a situation in, a plan out."""
