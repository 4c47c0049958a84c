"""Records: what is read, what is refused and by which word, and what must stay readable."""
