"""One detector a file. A detector learns from readings and scores readings; it decides and remembers nothing."""
