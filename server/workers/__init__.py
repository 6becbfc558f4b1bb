"""Several worker processes behind one front: ``visavis serve --workers N``, each with engines of its own."""
