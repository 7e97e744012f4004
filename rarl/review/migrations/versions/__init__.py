"""One file per change, oldest first; a change that has shipped is never edited."""
