"""The abstract parts that plugins implement, and the carriers that flow between them."""
