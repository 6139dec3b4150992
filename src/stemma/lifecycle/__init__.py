"""The way of the data, one module a station: register, validate, submit, execute, capture, draw."""
