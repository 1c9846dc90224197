"""What a person looks at: the HTML report of a sweep, and the numbers behind each of its plots."""
