"""What is missing in a stream of packets: how much, and what is put in its place."""
