"""The abstract parts that plugins make final, and the carriers that flow between them."""
