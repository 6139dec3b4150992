"""Station *replicate*: the inputs that steps need, brought here in the order of need."""
