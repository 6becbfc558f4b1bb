"""How loaded this process is, what is given up for that, and who is still let in."""
