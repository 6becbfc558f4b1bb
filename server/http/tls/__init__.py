"""HTTPS: the certificate, and the port that speaks TLS and sends plain HTTP there."""
