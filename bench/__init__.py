"""Side-by-side measurements on one topology: `make bench`."""
