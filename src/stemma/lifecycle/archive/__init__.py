"""The archive: outputs and uploads are copied there and kept for good, and come back when they are needed."""
