"""One detector a file. A detector learns from readings and scores readings; it decides nothing and remembers nothing.
"""
