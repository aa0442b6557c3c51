"""The shared library of the functions: domain modules over PostgreSQL and S3, and the plumbing under them."""
