"""What is kept: tables by subject, queries by subject, migrations from the first table on."""
