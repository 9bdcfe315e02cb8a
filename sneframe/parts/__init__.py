"""This package defines the abstract parts that plugins implement, and the carriers between parts."""
