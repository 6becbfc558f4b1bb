"""One file per library; heavy imports happen inside, when the engine is built."""
