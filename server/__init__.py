"""The outside: HTTP, SDP and sessions. Joins media tracks to pipelines."""
