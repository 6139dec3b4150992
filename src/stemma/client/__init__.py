"""The Python client. Of the server it knows errors and states alone."""
