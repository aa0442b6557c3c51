"""The shared library of the video management server: domain modules over PostgreSQL and S3, and the plumbing that they stand on."""
